"""What a run in the sandbox costs, and whether anything is left after very many.

    python benchmarks/sandbox.py [--runs 300]
    python benchmarks/sandbox.py --commands [--runs 20]
    python benchmarks/sandbox.py --soak 100000 [--minutes 30]

The first: milliseconds of a run of a plain function with three asserts, alone and as a file, and of the same tests as a
pytest file, beside a bare fork and a fresh Python, all in turn, so that other work on the machine falls on all alike;
runs per second on all cores; what coverage adds; what a timeout costs beyond its limit.
The second: what a test command costs in its copy of a project, beside the same command by hand and copying the project.
The third: honest and hostile programs in turn, alone and as a file of a project; verdicts that were wrong, and
processes, descriptors, files and memory at the beginning and at the end.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.execution import hostile

from kelp.execution import Limits, Sandbox, Suite

PROGRAM = """\
def add(a, b):
    total = a
    for _ in range(b):
        total += 1
    return total
"""
ASSERTS = ("add(1, 2) == 3", "add(0, 0) == 0", "add(5, 1) == 6")
TEST_FILE = "from program import add\n" + "".join(
    f"def test_{number}():\n    assert {text}\n" for number, text in enumerate(ASSERTS)
)
HONEST = {
    "plain": ("def f():\n    return 1\n", True),
    "wrong": ("def f():\n    return 2\n", False),
    "imports": ("import json, dataclasses, enum\ndef f():\n    return json.loads('1')\n", True),
    "threads": (
        "import threading\ndef f():\n    t = threading.Thread(target=len, args=((),))\n"
        "    t.start(); t.join()\n    return 1\n",
        True,
    ),
    "files": ("def f():\n    open('x', 'w').write('x')\n    return len(open('x').read())\n", True),
    "raises": ("def f():\n    raise KeyError(1)\n", False),
}
SLOW = (
    "terabyte",
    "growing",
    "gigabytes",
    "memory",
    "recursion",
    "bomb",
    "flood",
    "subclasses",
    "collector",
    "handler",
)


def bare_fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def fresh_python() -> None:
    code = PROGRAM + "".join(f"assert {text}\n" for text in ASSERTS)
    subprocess.run([sys.executable, "-c", code], check=True)


def measure(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        module, tests = Path(folder) / "program.py", Path(folder) / "test_program.py"
        module.write_text(PROGRAM)
        tests.write_text(TEST_FILE)
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        source = PROGRAM.encode()
        with (
            Sandbox(Suite(asserts=ASSERTS)) as plain,
            Sandbox(Suite(asserts=ASSERTS), module=module, limits=Limits(seconds=20)) as of_file,
            Sandbox(Suite(pytest_files=(tests,)), module=module, limits=Limits(seconds=20)) as files,
        ):

            def run(sandbox: Sandbox, trace: bool, text: bytes = source) -> Callable[[], None]:
                def once() -> None:
                    assert sandbox.run(text, trace=trace).ok

                return once

            kinds = {
                "a bare fork": bare_fork,
                "three asserts": run(plain, False),
                "three asserts, with coverage": run(plain, True),
                "three asserts about a file, edited": run(of_file, False, source + b"# edited\n"),
                "a pytest file": run(files, False),
                "a pytest file, with coverage": run(files, True),
                "a fresh Python": fresh_python,
            }
            took: dict[str, list[float]] = {name: [] for name in kinds}
            for number in range(runs + 5):
                for name, function in kinds.items():
                    began = time.perf_counter()
                    function()
                    if number >= 5:
                        took[name].append((time.perf_counter() - began) * 1000)
    print(f"{'ms a run':34} {'least':>8} {'median':>8} {'p99':>8}   n={runs}, load {os.getloadavg()[0]:.1f}")
    for name, times in took.items():
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"{name:34} {min(times):8.2f} {statistics.median(times):8.2f} {p99:8.2f}")

    def ratio(one: str, other: str) -> str:
        return f"{statistics.median(took[one]) / statistics.median(took[other]):.2f} x {other}"

    print("three asserts cost " + ratio("three asserts", "a bare fork"))
    print("coverage: " + ratio("three asserts, with coverage", "three asserts"))
    print("coverage: " + ratio("a pytest file, with coverage", "a pytest file"))


def throughput(seconds: float = 5.0) -> None:
    cores = len(os.sched_getaffinity(0))

    def work(_: int) -> int:
        count = 0
        with Sandbox(Suite(asserts=ASSERTS)) as sandbox:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                assert sandbox.run(PROGRAM.encode()).ok
                count += 1
        return count

    with ThreadPoolExecutor(cores) as pool:
        total = sum(pool.map(work, range(cores)))
    print(f"{total / seconds:.0f} runs/s on {cores} cores")


def timeouts(limit: float = 0.3, runs: int = 20) -> None:
    over = []
    with Sandbox(limits=Limits(seconds=limit)) as sandbox:
        for _ in range(runs):
            began = time.perf_counter()
            sandbox.run(b"def add(a, b):\n    while True: pass\n", asserts=ASSERTS)
            over.append((time.perf_counter() - began - limit) * 1000)
    middle = statistics.median(over)
    print(f"a timeout costs {middle:.1f} ms beyond its limit (least {min(over):.1f}, most {max(over):.1f})")


def commands(runs: int) -> None:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        shutil.copytree(Path(__file__).parents[1] / "src", root / "src")
        (root / "program.py").write_text(PROGRAM)
        (root / "test_program.py").write_text(TEST_FILE)
        (root / "pytest.ini").write_text("[pytest]\n")

        def copy() -> None:
            shutil.copytree(root, Path(folder) / "copy")
            shutil.rmtree(Path(folder) / "copy")

        kinds: dict[str, Callable[[], object]] = {"copying the project (9 MB)": copy}
        sandboxes = []
        for command in (("true",), (sys.executable, "-m", "pytest", "-q", "test_program.py")):
            sandbox = Sandbox(Suite(command=command), module=root / "program.py", limits=Limits(60, 4096))
            sandboxes.append(sandbox)
            name = " ".join([Path(command[0]).name, *command[1:]])
            kinds[name + ", by hand"] = partial(
                subprocess.run, command, cwd=root, env=environment, stdout=subprocess.DEVNULL, check=True
            )
            kinds[name + ", as a test"] = partial(sandbox.run, PROGRAM.encode())
        took: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(runs + 1):
            for name, function in kinds.items():
                began = time.perf_counter()
                function()
                if number:
                    took[name].append((time.perf_counter() - began) * 1000)
        for sandbox in sandboxes:
            sandbox.close()
    print(f"{'ms a run':46} {'least':>8} {'median':>8}   n={runs}, load {os.getloadavg()[0]:.1f}")
    for name, times in took.items():
        print(f"{name:46} {min(times):8.2f} {statistics.median(times):8.2f}")


def resident(pid: str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**10


def left(homes: str) -> dict[str, int]:
    """Processes and KiB of the sandbox, files in its folder, and this process's descriptors and KiB."""
    theirs = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={homes}".encode() in path.read_bytes():
                theirs.append(path.parent.name)
        except OSError:
            continue
    return {
        "processes": len(theirs),
        "KiB of the server": sum(map(resident, theirs)),
        "files": sum(1 for _ in Path(homes).rglob("*")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "KiB of the caller": resident("self"),
        "KiB of disks in memory": int(Path("/proc/meminfo").read_text().partition("Shmem:")[2].split()[0]),  # of all
    }


def soak(runs: int, seed: int, minutes: float) -> None:
    rng = random.Random(seed)
    programs = [(f"hostile: {name}", source, False) for name, source in {**hostile.VERDICT, **hostile.EFFECT}.items()
                if not any(word in name for word in SLOW)]  # fmt: skip
    programs += [(f"hostile: {name}", hostile.ENDLESS[name], False) for name in ("a loop", "a regular expression")]
    programs += [(name, source, ok) for name, (source, ok) in HONEST.items() for _ in range(len(programs) // 6)]
    wrong: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as project, tempfile.TemporaryDirectory() as homes:
        module = Path(project) / "it.py"
        module.write_text(HONEST["wrong"][0])
        (Path(project) / "pytest.ini").write_text("[pytest]\n")
        tempfile.tempdir = homes
        with Sandbox() as sandbox, Sandbox(Suite(asserts=("f() == 1",)), module=module) as of_file:
            began = time.monotonic()
            first: dict[str, int] = {}
            for number in range(runs):
                if time.monotonic() - began > 60 * minutes:
                    runs = number
                    break
                name, source, ok = rng.choice(programs)
                source = source.replace("PARENT", str(os.getpid())).replace("PORT", "9").replace("CANARY", homes)
                seconds = 0.1 if name.startswith("hostile") else 20.0  # on a busy machine
                if number % 3 == 0:
                    observation = of_file.run(source.encode(), seconds=seconds)
                else:
                    observation = sandbox.run(source.encode(), asserts=["f() == 1"], seconds=seconds)
                if observation.vouched != ok and name.removeprefix("hostile: ") not in hostile.CONTAINED:
                    wrong[name] = wrong.get(name, 0) + 1
                if number == min(500, runs // 2):
                    first = left(homes)
            last = left(homes)
            print(f"{runs} runs of {len(programs)} programs (seed {seed}) in {time.monotonic() - began:.0f} s")
        print(f"{'':22} {'early':>8} {'at the end':>10}")
        for name, value in first.items():
            print(f"{name:22} {value:8} {last[name]:10}")
        print(f"after closing: {len(os.listdir(homes))} files; verdicts that were wrong: {wrong or 'none'}")
        tempfile.tempdir = None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=300)
    arguments.add_argument("--commands", action="store_true")
    arguments.add_argument("--soak", type=int, default=0, metavar="N")
    arguments.add_argument("--minutes", type=float, default=1e9, help="stop the soak then, whatever N is")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    if options.soak:
        soak(options.soak, options.seed, options.minutes)
        return
    if options.commands:
        commands(options.runs)
        return
    measure(options.runs)
    throughput()
    timeouts()


if __name__ == "__main__":
    main()
