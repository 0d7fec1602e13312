"""The sandbox keeps its caller, its neighbors and its time; nothing of a run stays behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kelp.execution import Limits, Observation, Sandbox, Suite

PATIENT = Limits(seconds=60)  # for what ends by itself
BRIEF = Limits(seconds=0.5)  # for what never would
GOOD = b"def f():\n    return 1\n"
TEST = "f() == 1"

# Programs that would pass, hang or do harm if nothing stood in their way, with what is said of them.
HOSTILE = {
    "sys.exit": ("import sys\ndef f():\n    sys.exit(0)", "SystemExit"),
    "os._exit": ("import os\ndef f():\n    os._exit(0)", "ProcessDied"),
    "SystemExit": ("def f():\n    raise SystemExit", "SystemExit"),
    "KeyboardInterrupt": ("def f():\n    raise KeyboardInterrupt", "KeyboardInterrupt"),
    "GeneratorExit": ("def f():\n    raise GeneratorExit", "GeneratorExit"),
    "recursion": ("def f():\n    return f() + 1", "RecursionError"),
    "stack overflow": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass C:\n    def __getattr__(self, n):\n        return repr(self)\n"
        "    def __repr__(self):\n        return self.x\ndef f():\n    return C().x",
        "RecursionError or ProcessDied",  # as the interpreter's version has it
    ),
    "huge list": ("def f():\n    return [0] * 10**11", "MemoryError"),
    "growing bytes": ("def f():\n    b = b'x'\n    while True:\n        b += b", "MemoryError"),
    "kill all": ("import os\ndef f():\n    os.kill(-1, 9)\n    return 1", "PermissionError or ProcessLookupError"),
    "kill itself": ("import os\ndef f():\n    os.kill(os.getpid(), 9)", "ProcessDied"),
    "standard input": ("def f():\n    return int(input())", "EOFError"),
    "closes everything": ("import os\ndef f():\n    os.closerange(0, 256)\n    return 1", "ProcessDied"),
    "hostile repr": ("class C:\n    def __repr__(self): raise SystemExit\ndef f():\n    return C()", "AssertionError"),
    "long repr": ("def f():\n    return 'x' * 10**7", "AssertionError"),
    "lone surrogate": ("def f():\n    return '\\ud800'", "AssertionError"),
    "hostile eq": ("class C:\n    def __eq__(self, o): raise SystemExit\ndef f():\n    return C()", "SystemExit"),
    "hostile exception": ("class E(BaseException):\n    def __str__(self): 1 / 0\ndef f():\n    raise E", "E"),
    "many files": ("def f():\n    return [open('/dev/null') for _ in range(9999)]", "OSError"),
    "large file": (
        "import os\ndef f():\n    with open('x', 'wb') as x:\n        os.ftruncate(x.fileno(), 2**30)",
        "OSError",
    ),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def brief() -> Iterator[Sandbox]:
    with Sandbox(limits=BRIEF) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, source: str, *tests: str) -> Observation:
    return sandbox.run(source.encode(), asserts=tests or [TEST])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_neither_passes_nor_hurts_the_next_run(sandbox: Sandbox, name: str) -> None:
    source, exception = HOSTILE[name]
    observation = run(sandbox, source, TEST, "1 == 1")
    outcome = observation.outcomes[0]
    assert not observation.ok and outcome.status in ("fail", "error")
    assert outcome.exception in exception.split(" or ")
    assert len(observation.render()) <= 200 and observation.render().encode()
    assert run(sandbox, GOOD.decode()).ok


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import time; time.sleep(9999)",
        "while True: print('x' * 10000)",
        "import threading; threading.Event().wait()",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\n    while True: pass",
        "try:\n        while True: pass\n    finally:\n        return 1",
        "class C:\n        def __repr__(self):\n            while True: pass\n    return C()",
    ],
)
@pytest.mark.slow
def test_a_program_that_never_ends_is_killed_at_the_limit(brief: Sandbox, body: str) -> None:
    observation = run(brief, f"def f():\n    {body}\n")
    [outcome] = observation.outcomes
    assert (outcome.status, outcome.call, outcome.message) == (
        "timeout",
        "f()",
        "the process was killed at its limit of 0.5 s",
    )
    assert observation.seconds < 30
    assert not observation.ok


def test_a_program_that_never_ends_loading_is_an_error(brief: Sandbox) -> None:
    observation = run(brief, "while True: pass")
    assert observation.error == "the process was killed at its limit of 0.5 s outside of any test"
    assert (observation.total, observation.not_run) == (1, 1)


@pytest.mark.parametrize("statement", ["raise SystemExit", "raise KeyboardInterrupt", "import os; os._exit(0)"])
def test_a_program_that_ends_while_loading_is_an_error(sandbox: Sandbox, statement: str) -> None:
    observation = run(sandbox, statement, TEST)
    assert observation.error is not None and not observation.ok and observation.total == 1


@pytest.mark.skipif(sys.platform != "linux", reason="processor time is read on Linux")
def test_processor_time_is_a_limit_of_its_own_and_waiting_takes_none() -> None:
    with Sandbox(limits=Limits(seconds=60, cpu_seconds=0.2)) as sandbox:
        began = time.monotonic()
        [endless] = run(sandbox, "def f():\n    while True: pass\n").outcomes
        assert endless.status == "timeout" and time.monotonic() - began < 50
        assert endless.message == "the process was killed at its limit of 0.2 s of processor time"
        sandbox.limits = Limits(seconds=0.3)
        [endless] = run(sandbox, "def f():\n    while True: pass\n").outcomes
        assert endless.message == "the process was killed at its limit of 0.3 s"
        sandbox.limits = Limits(seconds=60, cpu_seconds=0.2)
        assert run(sandbox, "import time\ndef f():\n    time.sleep(0.5)\n    return 1\n", "f() == 1").ok


def test_closing_does_not_wait_for_a_run_of_another_thread() -> None:
    with ThreadPoolExecutor(1) as background, Sandbox(limits=Limits(seconds=600)) as sandbox:
        endless = background.submit(run, sandbox, "def f():\n    while True: pass\n")
        while not sandbox._lock.locked():
            time.sleep(0.01)
        time.sleep(0.2)
        sandbox.close()
        assert endless.result(timeout=60).error == "the sandbox's server died or hung during this run"


@pytest.mark.slow
def test_tests_before_a_timeout_keep_their_outcomes() -> None:
    with Sandbox(limits=Limits(seconds=3)) as sandbox:
        observation = run(
            sandbox,
            "def f(x):\n    while x > 1: pass\n    return x",
            "f(0) == 0",
            "f(1) == 2",
            "f(2) == 2",
            "f(3) == 3",
        )
    assert [o.status for o in observation.outcomes] == ["pass", "fail", "timeout"]
    assert (observation.total, observation.not_run) == (4, 1)


def test_output_is_kept_up_to_a_bound(sandbox: Sandbox) -> None:
    observation = run(
        sandbox, "import os\ndef f():\n    print('hello', flush=True)\n    os.write(2, b'x' * 10**7)\n    return 1"
    )
    assert observation.ok
    assert observation.output.startswith("hello\nxxx") and len(observation.output) == 2**16


def test_reports_that_a_program_makes_up_do_not_count(sandbox: Sandbox) -> None:
    forged = """
import json, os
def f():
    line = {"secret": "", "event": "outcome", "name": "f() == 1", "status": "pass", "seconds": 0, "lines": []}
    line = json.dumps(line)
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, (line + "\\n" + json.dumps({"event": "done"}) + "\\n[1]\\n{}\\nnull\\n\\xff").encode())
        except OSError:
            pass
    os._exit(0)
"""
    observation = run(sandbox, forged)
    assert [o.status for o in observation.outcomes] == ["error"]


def test_nothing_of_a_program_reaches_the_next(sandbox: Sandbox) -> None:
    dirty = """
import builtins, os, math, random, sys
builtins.left = 1
math.pi = None
os.environ["LEFT"] = "x"
sys.modules["left"] = sys
sys.path.insert(0, "/left")
open("left", "w").close()
random.seed(99)
os.chdir("/")
def f():
    return 1
"""
    clean = """
import builtins, math, os, random, sys
def f():
    here = os.getcwd()
    assert os.environ["HOME"] == here == os.environ["TMPDIR"]
    names = [*os.environ, *sys.modules, *dir(builtins), *sys.path]
    return [os.listdir(), [n for n in names if n in ("LEFT", "left", "/left")], math.pi > 3, random.random()]
"""
    before = run(sandbox, clean).outcomes[0].got
    assert before is not None and before.startswith("[[], [], True, ")
    assert run(sandbox, dirty).ok
    assert run(sandbox, clean).outcomes[0].got == before


def test_threads_of_a_program_are_fine_and_end_with_it(sandbox: Sandbox) -> None:
    source = """
import threading
seen = []
def forever():
    seen.append(1)
    while True: pass
def f():
    worker = threading.Thread(target=seen.append, args=(1,))
    worker.start()
    worker.join()
    threading.Thread(target=forever).start()
    return seen[0]
"""
    assert run(sandbox, source).ok


@pytest.mark.parametrize("task", ["threading.Thread(target=time.sleep, args=(60,)).start()", "subprocess(60)"])
def test_the_kernel_bounds_the_processes_and_threads_of_a_run(task: str, tmp_path: Path) -> None:
    program = f"""
import os, threading, time
threading.stack_size(2 ** 16)
def subprocess(seconds):
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
def f():
    for count in range(900):
        try: {task}
        except (OSError, RuntimeError): return count
    return 900
"""
    limits = Limits(seconds=60, memory_mb=4096, tasks=64)
    (tmp_path / "it.py").write_text(program)
    (tmp_path / "check.py").write_text("import os\nfrom it import f\nprint('count', f(), flush=True)\nos._exit(0)\n")
    with Sandbox(Suite(command=(sys.executable, "check.py")), module=tmp_path / "it.py", limits=limits) as sandbox:
        if "at most 64" not in sandbox.protections["processes"]:
            pytest.skip("this kernel has no limit of tasks for a process namespace")
        observation = sandbox.run(program.encode())
    count = re.search(r"count (\d+)", observation.output)
    assert int(count[1]) < 400 if count else "starting too many processes" in str(observation.outcomes[0].message)
    with Sandbox(limits=limits) as sandbox:
        [outcome] = sandbox.run(program.encode(), asserts=["f() < 400"]).outcomes
    assert outcome.status == "pass" or "starting too many processes" in str(outcome.message)


def test_nothing_is_written_outside_the_scratch_folder(sandbox: Sandbox, tmp_path: Path) -> None:
    if sandbox.protections["files"] == "none":
        pytest.skip("this kernel has no Landlock")
    target = tmp_path / "kept"
    target.write_text("kept")
    for statement in (
        f"open({str(target)!r}, 'w')",
        f"os.remove({str(target)!r})",
        f"os.mkdir({str(tmp_path / 'new')!r})",
        f"os.symlink('/', {str(tmp_path / 'link')!r})",
        f"os.truncate({str(target)!r}, 0)",
        "open('here', 'w').close(); os.rename('here', " + repr(str(tmp_path / "moved")) + ")",
    ):
        [outcome] = run(sandbox, f"import os\ndef f():\n    {statement}\n    return 1").outcomes
        assert outcome.exception in ("PermissionError", "OSError", "FileNotFoundError"), statement
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and target.read_text() == "kept"
    assert run(sandbox, "def f():\n    return open('here', 'w').write('x')").ok


def test_all_files_of_a_run_together_are_limited_and_quickly_gone() -> None:
    many = "def f():\n    for n in range(9):\n        open(f'x{n}', 'wb').write(bytes(2 ** 20))\n    return 1"
    deep = "import os\ndef f():\n    while True:\n        os.mkdir('d')\n        os.chdir('d')"
    looks = "import os\nleft = os.listdir()\ndef f():\n    open('x', 'wb').write(b' ' * 7 ** 8)\n    return not left"
    with Sandbox(limits=Limits(seconds=60, disk_mb=8)) as sandbox:
        if "disk in memory" not in sandbox.protections["mounts"]:
            pytest.skip("this machine gives no disk")
        for source in (many, deep):
            assert "No space left on device" in str(run(sandbox, source).outcomes[0].message)
            assert run(sandbox, looks).ok
    with Sandbox(limits=BRIEF) as sandbox:
        began = time.monotonic()
        run(sandbox, deep)
        assert time.monotonic() - began < BRIEF.seconds + 1


def test_the_server_knows_nothing_of_jax(sandbox: Sandbox) -> None:
    assert run(sandbox, "import sys\ndef f():\n    return 1 + ('jax' in sys.modules)").ok


def test_every_protection_is_named(sandbox: Sandbox) -> None:
    assert set(sandbox.protections) == set("processes network ipc mounts resources privileges files calls".split())


def test_several_sandboxes_serve_several_threads() -> None:
    passed: list[bool] = []

    def work(sandbox: Sandbox, number: int) -> None:
        for _ in range(5):
            source = f"def f():\n    return {number}\n"
            passed.append(run(sandbox, source, f"f() == {number}").ok)

    with Sandbox(limits=PATIENT) as one, Sandbox(limits=PATIENT) as two:
        threads = [threading.Thread(target=work, args=((one, two)[n % 2], n)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert passed == [True] * 30


def test_a_server_that_died_is_started_again() -> None:
    with Sandbox(Suite(asserts=(TEST,)), limits=PATIENT) as sandbox:
        for child in children():
            if child_is_server(child):
                os.kill(child, signal.SIGKILL)
                os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # until then it may answer
        observation = sandbox.run(GOOD)
        assert observation.ok or observation.error == "the sandbox's server died or hung during this run"
        assert sandbox.run(GOOD).ok


def test_a_closed_sandbox_leaves_no_process_descriptor_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors, before = open_descriptors(), children()
    sandbox = Sandbox(Suite(asserts=(TEST,)), limits=BRIEF)
    assert list(tmp_path.iterdir())
    deep = "import os\nfor _ in range(1000):\n    os.mkdir('d')\n    os.chdir('d')\ndef f():\n    return 1"
    for source in (GOOD.decode(), "def f():\n    while True: pass", "import os\nos._exit(1)", deep):
        run(sandbox, source)
    sandbox.close()
    sandbox.close()  # once more does no harm
    assert list(tmp_path.iterdir()) == []
    assert open_descriptors() == descriptors
    assert children() == before
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run(GOOD)


def test_a_sandbox_that_is_forgotten_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    sandbox = Sandbox(limits=BRIEF)
    del sandbox
    assert list(tmp_path.iterdir()) == [] and children() == before


def test_a_caller_that_is_killed_takes_its_sandbox_along(tmp_path: Path) -> None:
    script = """
import os, sys, tempfile
from kelp.execution import Limits, Sandbox
tempfile.tempdir = sys.argv[1]
sandbox = Sandbox(limits=Limits(seconds=600))
print("ready", flush=True)
sandbox.run(b"def f():\\n    while True: pass\\n", asserts=["f() == 1"])
"""
    caller = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    assert mentioning(str(tmp_path))
    caller.kill()
    caller.wait()
    caller.stdout.close()
    until(lambda: not mentioning(str(tmp_path)) and not list(tmp_path.iterdir()))


def test_a_fork_of_the_caller_gets_a_server_of_its_own() -> None:
    script = """
import os
from kelp.execution import Limits, Sandbox
sandbox = Sandbox(limits=Limits(seconds=60))
def passes():
    return sandbox.run(b"def f():\\n    return 1\\n", asserts=["f() == 1"]).ok
child = os.fork()
if child == 0:
    fine = passes()
    sandbox.close()
    os._exit(not fine)
fine = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(fine and passes())
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.stdout == "True\n", said.stderr


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="seconds must be positive, got 0"):
        Limits(seconds=0)


def children() -> set[int]:
    """Processes whose parent is this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == os.getpid():
            found.add(int(path.parent.name))
    return found


def child_is_server(pid: int) -> bool:
    return b"kelp/execution/worker/start.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def mentioning(text: str) -> list[str]:
    """Processes with the text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def test_an_interrupted_run_is_not_answered_by_the_next() -> None:
    with Sandbox(limits=Limits(seconds=30)) as sandbox:
        assert sandbox.run(GOOD, asserts=[TEST]).ok
        timer = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            sandbox.run(b"def f():\n    while True: pass\n", asserts=[TEST])
        assert [r.repr for r in sandbox.evaluate(b"def f():\n    return 7\n", ["f()"])] == ["7"]
        assert sandbox.run(GOOD, asserts=[TEST]).ok


def test_calls_are_cut_off_at_the_seconds_they_are_given() -> None:
    with Sandbox(limits=Limits(seconds=30)) as sandbox:
        began = time.monotonic()
        results = sandbox.evaluate(b"def f(x):\n    while x: pass\n    return 1\n", ["f(0)", "f(1)"], seconds=0.3)
        assert [r.exception for r in results] == [None, "Timeout"] and time.monotonic() - began < 15


@pytest.mark.parametrize("command", [(), (sys.executable, "check.py")])
def test_a_home_folder_on_the_import_path_keeps_what_is_hidden(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    (home / ".ssh").mkdir(parents=True)
    project.mkdir()
    (home / ".ssh" / "key").write_text("SECRET")
    (home / "tools.py").write_text("def one():\n    return 1\n")
    program = f"import tools\ndef f():\n    try: return open({str(home / '.ssh' / 'key')!r}).read()\n"
    program += "    except OSError: return tools.one()\n"
    (project / "it.py").write_text(program)
    (project / "check.py").write_text("from it import f\nassert f() == 1\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(home))
    suite = Suite(command=command) if command else Suite(asserts=("f() == 1",))
    with Sandbox(suite, module=project / "it.py", limits=PATIENT) as sandbox:
        observation = sandbox.run(program.encode())
        assert observation.ok, observation
