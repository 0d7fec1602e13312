"""A command as the test: honest programs are told apart, and hostile ones neither pass nor leave anything behind."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kelp.execution import Limits, Observation, Sandbox, Suite

pytestmark = pytest.mark.slow

PYTEST = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
GOOD = "def f():\n    return 1\n\n\ndef g(x):\n    return x * 2\n"
WRONG = GOOD.replace("return 1", "return 2")
TESTS = """\
import pytest
from it import f, g
from helper import expected

def test_f():
    assert f() == expected()

@pytest.mark.parametrize("x", [1, 2])
def test_g(x):
    assert g(x) == x + x

@pytest.mark.skip
def test_later():
    assert False
"""
CHECK = "import sys\nfrom it import f\nsys.exit(0 if f() == 1 else 'f() is wrong')\n"
LIMITS = Limits(seconds=60, memory_mb=512, open_files=512, tasks=64, disk_mb=8)
BRIEF = 2.0  # seconds for what never ends


@dataclass
class World:
    """A project, what a program must not change beside it, and two ways to test it."""

    project: Path
    canary: Path
    homes: Path
    tcp: socket.socket
    pytest: Sandbox
    check: Sandbox

    def fill(self, source: str) -> bytes:
        places = {"CANARY": str(self.canary), "PORT": str(self.tcp.getsockname()[1]), "PARENT": str(os.getpid())}
        for name, value in places.items():
            source = source.replace(name, value)
        return source.encode()

    def state(self) -> dict[str, object]:
        files = [path for folder in (self.project, self.canary) for path in sorted(folder.rglob("*"))]
        return {
            "files": [(str(path), path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in files],
            "homes": sorted(map(str, self.homes.rglob("*"))),
            "signs": [name for place in ("/tmp", "/dev/shm") for name in os.listdir(place) if "kelp-was-here" in name],
            "descriptors": sorted(os.listdir("/proc/self/fd")),
            "processes": self.processes(),
        }

    def processes(self) -> set[str]:
        """Those of the sandboxes: their home is in a folder that nobody else has."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"HOME={self.homes}".encode() in path.read_bytes():
                    found.add(path.parent.name)
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    project, canary, homes = (tmp_path_factory.mktemp(name) for name in ("project", "canary", "homes"))
    (canary / "kept").write_text("kept")
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (project / "it.py").write_text(WRONG)
    (project / "helper.py").write_text("def expected():\n    return 1\n")
    (project / "check.py").write_text(CHECK)
    (project / "conftest.py").write_text("")
    (project / "tests").mkdir()
    (project / "tests/test_it.py").write_text(TESTS)
    (project / "outside").symlink_to(canary)
    module = project / "it.py"
    usual, tempfile.tempdir = tempfile.tempdir, str(homes)
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            Sandbox(Suite(command=(*PYTEST, "tests")), module=module, limits=LIMITS) as by_pytest,
            Sandbox(Suite(command=(sys.executable, "check.py")), module=module, limits=LIMITS) as check,
        ):
            tcp.setblocking(False)
            yield World(project, canary, homes, tcp, by_pytest, check)
    except RuntimeError as error:
        pytest.skip(str(error))
    finally:
        tempfile.tempdir = usual
    assert not any(homes.iterdir())


@pytest.fixture(autouse=True)
def nothing_is_left(world: World) -> Iterator[None]:
    before = world.state()
    yield
    assert world.state() == before
    with pytest.raises(BlockingIOError):
        world.tcp.accept()


def statuses(observation: Observation) -> dict[str, str]:
    return {outcome.name.partition("::")[2]: outcome.status for outcome in observation.outcomes}


def test_each_test_of_pytest_is_told_apart(world: World) -> None:
    observation = world.pytest.run(WRONG.encode(), trace=True)
    assert statuses(observation) == {"test_f": "fail", "test_g[1]": "pass", "test_g[2]": "pass", "test_later": "skip"}
    failure = observation.first_failure
    assert failure is not None
    assert (failure.call, failure.got, failure.expected) == ("f()", "2", "1")
    assert observation.lines_failing == {2} and observation.lines_passing == {6}
    assert world.pytest.run(GOOD.encode()).ok


def test_got_is_what_the_program_computes(world: World, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "it.py").write_text(WRONG)
    tests = "from decimal import Decimal\nfrom it import f\ndef test_a():\n    assert Decimal(1) == f()\n"
    tests += "def test_b():\n    result = f()\n    assert (\n        int('1')\n        == result\n    )\n"
    (tmp_path / "test_it.py").write_text(tests)
    with Sandbox(Suite(command=(*PYTEST, "test_it.py")), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        observation = sandbox.run(WRONG.encode())
    said = [(o.call, o.got, o.expected) for o in observation.outcomes]
    assert said == [("f()", "2", "Decimal('1')"), ("f()", "2", "1")]


def test_an_exception_is_told_with_its_line(world: World) -> None:
    observation = world.pytest.run(GOOD.replace("return 1", "return 1 / 0").encode())
    failure = observation.first_failure
    assert failure is not None and not observation.ok
    assert (failure.status, failure.exception, failure.line) == ("error", "ZeroDivisionError", 2)
    assert observation.passed == 2


def test_a_program_that_cannot_be_imported_passes_nothing(world: World) -> None:
    observation = world.pytest.run(GOOD.replace("def g", "1 / 0\ndef g").encode())
    assert observation.error is not None and "ZeroDivisionError" in observation.error
    assert (observation.error_line, observation.passed, observation.not_run) == (5, 0, 4)


def test_another_command_is_one_test_by_its_status(world: World) -> None:
    assert world.check.run(GOOD.encode()).ok
    observation = world.check.run(WRONG.encode())
    [outcome] = observation.outcomes
    assert outcome.status == "fail" and "exit status 1" in str(outcome.message) and "f() is wrong" in observation.output
    [outcome] = world.check.run(b"def f():\n    return [][1]\n").outcomes
    assert outcome.line == 2 and outcome.lines == {2}  # as its traceback says


def test_what_takes_too_long_is_a_timeout(world: World) -> None:
    [outcome] = world.check.run(b"def f():\n    while True: pass\n", seconds=BRIEF).outcomes
    assert outcome.status == "timeout"
    observation = world.pytest.run(GOOD.replace("return 1", "import time; time.sleep(99)").encode(), seconds=8)
    assert statuses(observation).get("test_f", "timeout") == "timeout" and not observation.ok


def test_calls_are_evaluated_beside_a_command(world: World) -> None:
    assert [result.repr for result in world.check.evaluate(GOOD.encode(), ["g(3)"])] == ["6"]


def test_the_file_behind_a_link_is_what_is_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text(WRONG)
    (tmp_path / "it.py").symlink_to("real.py")
    (tmp_path / "check.py").write_text(CHECK)
    with Sandbox(Suite(command=(sys.executable, "check.py")), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        assert sandbox.run(GOOD.encode()).ok
    assert (tmp_path / "real.py").read_text() == WRONG


def test_bytecode_of_the_file_as_it_is_is_not_taken_for_a_candidates(world: World, tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text(WRONG)
    (tmp_path / "check.py").write_text(CHECK)
    cached = tmp_path / "__pycache__"
    import py_compile

    py_compile.compile(str(tmp_path / "it.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    with Sandbox(Suite(command=(sys.executable, "check.py")), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        assert sandbox.run(GOOD.encode()).ok
    assert len(list(cached.iterdir())) == 1


def test_projects_may_use_processes_locks_and_their_own_files(world: World) -> None:
    source = """
import multiprocessing, os, subprocess, sys, tempfile
def f():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    open("report.txt", "w").write("x")
    os.mkdir("made"); os.rename("report.txt", "made/report.txt")
    tempfile.TemporaryFile().close()
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    assert child.wait() < 0
    return int(subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout)
"""
    observation = world.check.run(source.encode())
    assert observation.ok, observation.output


# What would make tests pass that do not; each also has a g that is right, unless it says so itself
VERDICT = {
    "exits with success": "import os\ndef f(): os._exit(0)",
    "exits with success while loading": "import os\nos._exit(0)",
    "raises SystemExit": "import sys\ndef f(): sys.exit(0)",
    "ends the session": "import pytest\ndef f(): pytest.exit('all well', returncode=0)",
    "skips": "import pytest\ndef f(): pytest.skip('not today')",
    "skips while loading": "import pytest\npytest.skip('not today', allow_module_level=True)",
    "becomes another program": "import os\nos.execv('/bin/true', ['true'])",
    "leaves the work to a child": "import os\ndef f():\n    if os.fork(): os._exit(0)\n    return 1",
    "waits for the child that does the work": "import os\ndef f():\n    if child := os.fork(): os.waitpid(child, 0), os._exit(0)\n    return 1",
    "forges the report": """
import json, os
def f():
    tests = ['test_f', 'test_g[1]', 'test_g[2]', 'test_later']
    lines = [{'event': 'outcome', 'name': 'tests/test_it.py::' + test, 'status': 'pass', 'seconds': 0} for test in tests]
    for line in (*lines, {'event': 'finished'}):
        for number in range(3, 64):
            for key in ('', '0' * 32):
                try: os.write(number, (key + json.dumps(line) + '\\n').encode())
                except OSError: pass
    os._exit(0)
""",
    "deletes the tests": "import os\nos.unlink('tests/test_it.py')\ndef f(): return 1",
    "writes other tests": "open('tests/test_it.py', 'w').write('def test_f(): pass')\ndef f(): return 1",
    "writes other tests and puts the old ones back": """
import atexit
old = open('tests/test_it.py').read()
open('tests/test_it.py', 'w').write('def test_f(): pass')
atexit.register(lambda: open('tests/test_it.py', 'w').write(old))
def f(): return 1
""",
    "makes the tests' folder anew": """
import os, shutil
shutil.rmtree('tests'); os.mkdir('tests')
open('tests/test_it.py', 'w').write('def test_f(): pass')
def f(): return 1
""",
    "edits conftest.py": "open('conftest.py', 'a').write('def pytest_runtest_call(item): pass')\ndef f(): return 1",
    "adds a conftest.py": "open('tests/conftest.py', 'w').write('')\ndef f(): return 1",
    "edits the configuration": "open('pyproject.toml', 'a').write('#')\ndef f(): return 1",
    "edits what the tests import": "open('helper.py', 'w').write('def expected(): return 2')\ndef f(): return 2",
    "exits with success after the tests": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(): return 2",
    "exits with success before the last test": "import os\ncalls = []\ndef f(): return 1\ndef g(x):\n    calls.append(x)\n    return x * 2 if x == 1 else os._exit(0)",
    "writes over itself": "open('it.py', 'w').write('')\ndef f(): return 1",
}

# What would have an effect: f is 1 if it has
EFFECT = {
    "writes outside": "def f():\n    open('CANARY/new', 'w').close()\n    return 1",
    "writes outside through a link": "def f():\n    open('outside/new', 'w').close()\n    return 1",
    "writes outside by another program": "import subprocess\ndef f():\n    return 1 - bool(subprocess.call(['touch', 'CANARY/new']))",
    "changes a mode": "import subprocess\ndef f():\n    return 1 - bool(subprocess.call(['chmod', '777', 'CANARY/kept']))",
    "changes times": "import os\ndef f():\n    os.utime('CANARY/kept', (1, 1))\n    return 1",
    "reads outside": "def f():\n    return len(open('CANARY/kept').read()) // 4",
    "reads the home folder": "import os, pwd\ndef f():\n    os.listdir('/root' if os.getuid() == 0 else '/home')\n    return 1",
    "reads the accounts": "import subprocess\ndef f():\n    return 1 - bool(subprocess.call(['grep', '-q', 'daemon', '/etc/passwd']))",
    "reads other processes": "def f():\n    open('/proc/PARENT/cmdline').close()\n    return 1",
    "connects": "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', PORT), 1)\n    return 1",
    "connects by another program": "import subprocess\ndef f():\n    return 1 - bool(subprocess.call(['bash', '-c', '</dev/tcp/127.0.0.1/PORT']))",
    "kills process 1": "import os, signal\ndef f():\n    os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGINT); os.kill(1, signal.SIGTERM)\n    import time; time.sleep(0.1)\n    return 2",
    "limits process 1": "import resource\ndef f():\n    resource.prlimit(1, resource.RLIMIT_CPU, (10 ** 6, 10 ** 6))\n    return 1",
    "takes everybody's priority": "import os\ndef f():\n    os.setpriority(os.PRIO_USER, 0, 1)\n    return 1",
    "kills everything": "import os, signal\ndef f():\n    os.kill(-1, signal.SIGKILL)\n    return 2",
    "kills the caller": "import os, signal\ndef f():\n    os.kill(PARENT, signal.SIGKILL)\n    return 1",
    "takes the copy away": "import ctypes, os\ndef f():\n    return 1 + ctypes.CDLL(None).umount2(os.getcwd().encode(), 2)",
    "makes a user namespace": "import ctypes\ndef f():\n    return 1 + ctypes.CDLL(None).unshare(0x10000000)",
    "clones into a user namespace": "import ctypes, os\nhere = os.getpid()\ndef f():\n    pid = ctypes.CDLL(None).syscall(56, 0x10000011, 0, 0, 0, 0)\n    if os.getpid() != here: os._exit(0)\n    return 1 if pid > 0 else 2",
    "traces": "import ctypes\ndef f():\n    return 1 + ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
    "starts processes without end": "import os\ndef f():\n    while True: os.fork()",
    "starts threads without end": "import threading, time\nthreading.stack_size(2 ** 16)\ndef f():\n    while True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "fills memory by many processes": "import os, time\ndef f():\n    for _ in range(8):\n        if os.fork() == 0:\n            b = b'x' * 2 ** 27\n            time.sleep(99)\n    time.sleep(5)\n    return 1",
    "fills the disk": "def f():\n    for n in range(64): open(f'kelp-{n}', 'wb').write(b'x' * 2 ** 20)\n    return 1",
    "fills the disk with folders": "import os\ndef f():\n    for n in range(10 ** 5): os.mkdir(f'kelp-{n}')\n    return 1",
    "many memory files": "import os\ndef f():\n    for _ in range(100): os.write(os.memfd_create('x'), bytes(15 << 20))\n    return 1",
    "shared memory without an owner": "import ctypes\ndef f():\n    return 1 if ctypes.CDLL(None).shmget(0, ctypes.c_size_t(2 ** 30), 0o1600) >= 0 else 2",
    "datagrams to a socket by its path": "import socket\ndef f():\n    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n    a.sendto(b'x', 'CANARY/socket')\n    return 1",
    "nests folders": "import os\ndef f():\n    for n in range(800): os.mkdir('a' * 200); os.chdir('a' * 200)\n    return 2",
    "prints without end": "def f():\n    while True: print('x' * 10 ** 6)",
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICT)
def test_a_wrong_program_does_not_pass(world: World, name: str) -> None:
    source = VERDICT[name] if "def g" in VERDICT[name] else "def g(x): return x * 2\n" + VERDICT[name]
    observation = world.pytest.run(world.fill(source))
    assert not observation.ok, observation


@pytest.mark.parametrize("name", EFFECT)
def test_a_program_gets_away_with_nothing(world: World, name: str) -> None:
    endless = "without end" in name
    if name.startswith("starts") and "at most" not in world.check.protections["processes"]:
        pytest.skip("this kernel has no limit of tasks, and a program that never stops forking may get far")
    assert not world.check.run(world.fill(EFFECT[name]), seconds=BRIEF if endless else 20).ok
    assert world.check.run(GOOD.encode()).ok  # the runner is well


def test_a_process_in_the_background_dies_with_the_run(world: World) -> None:
    stays = """
import os, signal, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, 64):
                try: signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError): pass
            os.closerange(0, 64)
            time.sleep(10 ** 6)
        os._exit(0)
    return 1
"""
    assert world.check.run(stays.encode()).ok  # that nothing is left of it, `nothing_is_left` sees


LEAVES = """
import os, pathlib, py_compile, tempfile
def f():
    for folder in ('.', os.environ['HOME'], tempfile.gettempdir(), '/dev/shm', 'tests', '__pycache__'):
        os.makedirs(folder, exist_ok=True)
        pathlib.Path(folder, 'left-behind').write_text('x')
    pathlib.Path('bad.py').write_text('def expected(): return 2')
    py_compile.compile('bad.py', 'helper.pyc')
    py_compile.compile('bad.py', '__pycache__/helper.cpython-311.pyc', invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    pathlib.Path('helper.py').write_text('def expected(): return 2')
    pathlib.Path('sitecustomize.py').write_text('import os; os._exit(0)')
    return 2
"""
LOOKS = """
import os, pathlib, tempfile
from helper import expected
def f():
    folders = ('.', os.environ['HOME'], tempfile.gettempdir(), '/dev/shm', 'tests', '__pycache__')
    left = [folder for folder in folders if pathlib.Path(folder, 'left-behind').exists()]
    return 2 if left or os.listdir(os.environ['HOME']) or os.listdir('/dev/shm') else expected()
"""


def test_nothing_leaks_from_one_program_to_the_next(world: World) -> None:
    assert world.check.run(LOOKS.encode()).ok
    assert not world.check.run(LEAVES.encode()).ok
    assert world.check.run(LOOKS.encode()).ok


def test_an_equal_number_of_files_may_change_as_with_the_file_as_it_is(world: World, tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text(WRONG)
    (tmp_path / "golden.txt").write_text("x")
    (tmp_path / "check.py").write_text("open('golden.txt', 'a').write('x')\n" + CHECK)
    with Sandbox(Suite(command=(sys.executable, "check.py")), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        assert sandbox.run(GOOD.encode()).ok
    assert (tmp_path / "golden.txt").read_text() == "x"


def test_nothing_of_the_project_runs_outside_of_the_sandbox(world: World, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "it.py").write_text(GOOD)
    (project / "python-of-ours").write_text(f"#!/bin/sh\ntouch {tmp_path}/sign\n")
    (project / "check").write_text(f"#!{project}/python-of-ours\n")
    for name in ("python-of-ours", "check"):
        (project / name).chmod(0o755)
        with Sandbox(Suite(command=(f"./{name}",)), module=project / "it.py", limits=LIMITS) as sandbox:
            assert not sandbox.run(GOOD.encode()).ok
    assert not (tmp_path / "sign").exists()


def test_the_folder_of_a_program_is_not_read(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    (tmp_path / "run").write_text("#!/bin/sh\ncat $(dirname $0)/secret\n")
    (tmp_path / "run").chmod(0o755)
    with Sandbox(Suite(command=(str(tmp_path / "run"),)), module=world.project / "it.py", limits=LIMITS) as sandbox:
        observation = sandbox.run(GOOD.encode())
    assert not observation.ok and "SECRET" not in observation.output


def test_an_environment_inside_the_project_is_used(world: World, tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text(WRONG)
    (tmp_path / "check.py").write_text("import only_here\n" + CHECK)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    [packages] = (tmp_path / ".venv/lib").glob("python*/site-packages")
    (packages / "only_here.py").write_text("")
    with Sandbox(Suite(command=(".venv/bin/python", "check.py")), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        observation = sandbox.run(GOOD.encode())
    assert observation.ok, observation.output


def test_a_suite_with_a_command_has_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only test"):
        Suite(command=("true",), asserts=("True",))
    with pytest.raises(ValueError, match="module"):
        Sandbox(Suite(command=("true",)))


def test_a_command_at_its_limit_of_processor_time_is_a_timeout(world: World) -> None:
    suite = Suite(command=(sys.executable, "-c", "while True: pass"))
    with Sandbox(suite, module=world.project / "it.py", limits=replace(LIMITS, cpu_seconds=0.3)) as sandbox:
        [outcome] = sandbox.run(WRONG.encode()).outcomes
    assert outcome.status == "timeout" and "0.3 s of processor time" in (outcome.message or "")
