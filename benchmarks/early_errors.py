"""Exit statuses of `kelp repair` where it ends early, while the model is still being loaded.

    python benchmarks/early_errors.py [--runs 200] [--busy 2] [KIND ...]

Runs each kind of early end N times, every second time with --json, each in a process of its own and with busy loops
beside it. Prints a table of the exit statuses (negative: the signal that killed it), of outputs that were not as they
should be and of runs that left temporary files behind; exits with 1 where anything was wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

PROGRAM = "def area(width, height):\n    return width + height\n"
TEST = "from shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6\n"
FILES = {
    "shapes.py": PROGRAM,
    "missing_import.py": "import surely_not_installed\n" + PROGRAM,
    "test_shapes.py": TEST,
    "test_missing_import.py": TEST.replace("shapes", "missing_import"),
    "test_unimportable.py": "import surely_not_installed\n" + TEST,
    "test_passes.py": TEST.replace("6", "5"),
    "test_slow.py": "import time\n" + TEST.replace("assert", "time.sleep(5); assert"),
    "broken/conftest.py": "import surely_not_installed\n",
    "broken/test_shapes.py": TEST,
}
SHAPES = ("shapes.py", "--tests")
KINDS: dict[str, tuple[tuple[str, ...], int]] = {  # arguments, exit status
    "missing test file": ((*SHAPES, "test_nowhere.py"), 2),
    "no such function": ((*SHAPES, "test_shapes.py", "--function", "volume"), 2),
    "tests cannot be imported": ((*SHAPES, "test_unimportable.py"), 2),
    "missing import in the program": (("missing_import.py",), 2),
    "broken conftest": ((*SHAPES, "broken/test_shapes.py"), 2),
    "passes already": ((*SHAPES, "test_passes.py"), 3),
    "Ctrl-C": ((*SHAPES, "test_slow.py"), 130),
    "SIGTERM": ((*SHAPES, "test_slow.py"), 143),
    "no patch in one run": ((*SHAPES, "test_shapes.py", "--max-runs", "1"), 1),
    "repaired": ((*SHAPES, "test_shapes.py", "--patches", "1"), 0),
}
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def run(kind: str, folder: Path, as_json: bool, rng: random.Random) -> tuple[int, str | None, bool]:
    """One run: its exit status, complaint about its output if any, whether it left temporary files behind."""
    arguments, expected = KINDS[kind]
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [sys.executable, "-m", "kelp", "repair", *arguments, *["--json"] * as_json],
            cwd=folder,
            env=os.environ | {"TMPDIR": scratch, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if kind in SIGNALS:
            while not any(Path(scratch).iterdir()):  # the sandbox is started right after the model
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 2))
            process.send_signal(SIGNALS[kind])
        out, err = process.communicate()
        left = any(Path(scratch).iterdir())
    complaint = None
    if not err.strip() or b"terminate called" in err or b"Traceback" in err:
        complaint = err.decode(errors="replace")
    elif as_json:
        try:
            json.loads(out)
        except ValueError:
            complaint = "no JSON: " + out.decode(errors="replace")
    elif (b"+++" in out) != (expected == 0):
        complaint = "output: " + out.decode(errors="replace")
    return process.returncode, complaint, left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=list(KINDS), help="; ".join(KINDS))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2, help="busy loops beside the runs")
    given = parser.parse_args()
    rng = random.Random(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs hand down that it is ignored
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(given.busy)]
    wrong = False
    print(f"{'kind':32}{'want':>5}  {'statuses':20}{'output':>7}{'files':>6}{'median s':>10}", flush=True)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_files(folder)
            for kind in given.kinds:
                statuses, took, bad_output, left = Counter[int](), [], 0, 0
                for number in range(given.runs):
                    began = time.monotonic()
                    status, complaint, leftover = run(kind, folder, number % 2 == 1, rng)
                    took.append(time.monotonic() - began)
                    statuses[status] += 1
                    left += leftover
                    if complaint is not None:
                        bad_output += 1
                        print(f"    {kind}: {complaint.strip()[-300:]}", file=sys.stderr)
                counts = ", ".join(f"{status}: {count}" for status, count in statuses.most_common())
                median = sorted(took)[len(took) // 2]
                print(f"{kind:32}{KINDS[kind][1]:5}  {counts:20}{bad_output:7}{left:6}{median:10.2f}", flush=True)
                wrong |= set(statuses) != {KINDS[kind][1]} or bad_output + left > 0
    finally:
        for process in busy:
            process.kill()
            process.wait()
    sys.exit(wrong)


if __name__ == "__main__":
    main()
