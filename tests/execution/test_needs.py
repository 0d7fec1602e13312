"""Failures for want of something that a run does not give are told from those that are the program's own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from kelp.execution import Limits, Observation, Sandbox, Suite
from kelp.execution.observation import TestOutcome

PATIENT = Limits(seconds=60)
NETWORK, PROCESS, ASYNC = "a network connection", "to start a process", "a pytest plugin for async tests"
PYTEST = ("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")

SERVER = "a server outside of the sandbox, PostgreSQL on port 5432"
REFUSED = {  # the body of a function f, by what it needs
    "import socket; return socket.create_connection(('192.0.2.1', 9), 1)": NETWORK,
    "import socket; return socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))": NETWORK,
    "import socket; return socket.gethostbyname('example.com')": NETWORK,
    "import urllib.request; return len(urllib.request.urlopen('http://example.com').read())": NETWORK,
    "import asyncio; return asyncio.run(asyncio.open_connection('example.com', 9))": NETWORK,
    "import socket; return socket.create_connection(('127.0.0.1', 5432), 1)": SERVER,
    "return open('/dev/nvidia0')": "a GPU",
    "return open('/etc/shadow').read()": "access to /etc/shadow",
    "import os; return os.listdir('/root')": "access to /root",
    "return open('/etc/kelp', 'w')": "to write to /etc/kelp",
    "import os; return os.mkdir('/opt/kelp')": "access to /opt",
    "import socket; return socket.socket(socket.AF_NETLINK)": "a system call (operation not permitted)",
    "import nosuchmodule": f"the package 'nosuchmodule', which {sys.executable} does not have",
    # caught by the program, and gone wrong for that
    "\n try: return open('/etc/shadow').read()\n except OSError as error: raise ValueError('no users') from error":
        "access to /etc/shadow",
    "\n try: return open('/etc/shadow').read()\n except OSError: raise ValueError('no users') from None":
        "access to /etc/shadow",
    "import urllib.request\n try: return urllib.request.urlopen('http://a.b')\n except OSError: return b''": NETWORK,
}  # fmt: skip
WITHOUT_NAMESPACES = {
    "import socket; return socket.create_connection(('127.0.0.1', 9), 1)": NETWORK,
    "import subprocess; return subprocess.run(['true']).returncode": PROCESS,
    "import os; return os.fork()": PROCESS,
    "import os; return os.system('true')": PROCESS,
    "import multiprocessing; return multiprocessing.Pool(1)": PROCESS,
    "import subprocess\n try: return subprocess.check_output(['git'])\n except OSError: return 'unknown'": PROCESS,
    "return open('/etc/passwd').read()": "access to /etc/passwd",
}
OWN = [
    "raise PermissionError('no')",
    "import errno; raise PermissionError(errno.EPERM, 'Operation not permitted')",
    "import errno; raise PermissionError(errno.EACCES, 'Permission denied', '/etc/passwd')",
    "import socket; raise socket.gaierror(-2, 'Name or service not known')",
    "from unittest import mock; return mock.Mock(side_effect=PermissionError(13, 'Permission denied', '/x'))()",
    "return open('missing.txt')",
    "return open('/nowhere/missing.txt')",
    "import os; open('x', 'w').close(); os.chmod('x', 0); return open('x')",
    "import socket; return socket.socketpair()",
    "import asyncio; return asyncio.run(asyncio.sleep(0, 2))",
    "raise ModuleNotFoundError('no', name='nosuchmodule')",
    "import socket; return socket.create_connection(('127.0.0.1', 9), 1)",
    "raise RuntimeError('no GPU: CUDA is not available')",
    "raise ConnectionError('connection to port 5432 refused')",
    "return 2",
    "return [][0]",
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


def needs(observation: Observation) -> dict[str, str | None]:
    assert observation.error is None
    return {outcome.name.rpartition("::")[2]: outcome.needs for outcome in observation.outcomes}


@pytest.mark.parametrize("body", REFUSED)
def test_what_the_sandbox_refuses_is_named(sandbox: Sandbox, body: str) -> None:
    [outcome] = sandbox.run(f"def f():\n {body}\n".encode(), asserts=["f() == 1"]).outcomes
    if sandbox.protections["mounts"] == "none":
        pytest.skip("this machine has no namespaces")
    assert (outcome.status == "pass", outcome.needs) == (False, REFUSED[body])


@pytest.mark.parametrize("body", OWN)
def test_a_failure_of_the_programs_own_needs_nothing(sandbox: Sandbox, body: str) -> None:
    [outcome] = sandbox.run(f"def f():\n {body}\n".encode(), asserts=["f() == 1"]).outcomes
    assert outcome.status != "pass" and outcome.needs is None, outcome


def test_one_test_does_not_need_what_another_asked_for(sandbox: Sandbox) -> None:
    source = b"import socket\ndef f(x):\n    return x and socket.getaddrinfo('a.b', 80) or 2\n"
    observation = sandbox.run(source, asserts=["f(1) == 0", "f(0) == 1", "f(0) == 2"])
    assert needs(observation) == {"f(1) == 0": NETWORK, "f(0) == 1": None, "f(0) == 2": None}


PROGRAM = """\
import socket
def f(x=1):
    '''
    >>> f(0)
    7
    '''
    return x + 1
def fetch():
    return socket.create_connection(("192.0.2.1", 9), 1)
def numbers():
    return open("data/numbers.txt").read()
"""
TESTS = """\
import unittest
import pytest
from prog import f, fetch, numbers

def test_f():
    assert f() == 1

def test_fetch():
    assert fetch() == 1

@pytest.fixture
def connection():
    return fetch()

def test_connection(connection):
    assert connection

def test_mock(mocker):
    assert f() == 2

async def test_async():
    assert f() == 2

@pytest.fixture
async def later():
    return 1

def test_later(later):
    assert f() == 2

def test_numbers():
    assert numbers() == "1 2"

def test_refuses():
    with pytest.raises(OSError):
        fetch()

def test_import():
    import tools.helper
    assert tools.helper

class TestOld(unittest.TestCase):
    def test_old(self):
        with self.subTest():
            self.assertEqual(fetch(), 1)
"""
NEEDS = {
    "test_f": None, "test_fetch": NETWORK, "test_connection": NETWORK, "test_mock": "the fixture 'mocker'",
    "test_async": ASYNC if pytest.version_tuple >= (8, 4) else None,  # before, pytest skips it
    "test_later": ASYNC if pytest.version_tuple >= (9,) else None,  # before, pytest passes the coroutine and warns
    "test_refuses": NETWORK, "test_old": NETWORK,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    for folder in ("src", "tests", "data", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "src/prog.py").write_text(PROGRAM)
    (tmp_path / "data/numbers.txt").write_text("1 2")
    (tmp_path / "tools/helper.py").write_text("")
    (tmp_path / "tests/test_prog.py").write_text(TESTS)
    return tmp_path


def test_tests_of_files_tell_what_they_need(project: Path) -> None:
    (project / "tools").rename(project / "tests/tools")  # neither is in a folder that is imported from
    (project / "tests/test_prog.py").rename(project / "src/test_prog.py")
    suite = Suite(pytest_files=(project / "src/test_prog.py",), doctest=True)
    with Sandbox(suite, module=project / "src/prog.py", limits=PATIENT) as sandbox:
        found = needs(sandbox.run(PROGRAM.encode()))
    assert found == NEEDS | {"test_numbers": None, "test_import": None, "prog.f": None}


@pytest.mark.slow
def test_async_tests_need_a_plugin_in_every_release_of_pytest_that_makes_warnings_errors(project: Path) -> None:
    with (project / "pytest.ini").open("a") as settings:
        settings.write("filterwarnings = error\n")
    suite = Suite(pytest_files=(project / "tests/test_prog.py",))
    with Sandbox(suite, module=project / "src/prog.py", limits=PATIENT) as sandbox:
        found = needs(sandbox.run(PROGRAM.encode()))
    later = ASYNC if pytest.version_tuple >= (8, 4) else None  # before, pytest does not notice
    assert (found["test_async"], found["test_later"]) == (ASYNC, later)


def test_a_doctest_tells_what_it_needs(project: Path) -> None:
    source = PROGRAM.replace("f(0)", "fetch()")
    with Sandbox(Suite(doctest=True), module=project / "src/prog.py", limits=PATIENT) as sandbox:
        assert needs(sandbox.run(source.encode())) == {"prog.f": NETWORK}


def test_tests_of_a_command_tell_what_they_need(project: Path) -> None:
    (project / "tests/local.txt").write_text("1 2")
    (project / "src/prog.py").write_text(PROGRAM.replace("data/numbers.txt", "local.txt"))
    try:
        sandbox = Sandbox(Suite(command=(*PYTEST, "tests")), module=project / "src/prog.py", limits=PATIENT)
    except RuntimeError as error:
        pytest.skip(str(error))
    with sandbox:
        found = needs(sandbox.run((project / "src/prog.py").read_bytes()))
    local = f"to run in {project / 'tests'}, where local.txt is"
    assert found == NEEDS | {"test_numbers": local, "test_import": None}


@pytest.mark.slow
def test_a_strict_marker_in_tests_of_a_command_tells_what_it_needs(project: Path) -> None:
    (project / "tests/test_prog.py").write_text("import pytest\n@pytest.mark.asyncio\ndef test_x(): pass\n")
    suite = Suite(command=(*PYTEST, "--strict-markers", "tests"))
    try:
        sandbox = Sandbox(suite, module=project / "src/prog.py", limits=PATIENT)
    except RuntimeError as error:
        pytest.skip(str(error))
    with sandbox:
        assert sandbox.run(PROGRAM.encode()).needs == "the pytest plugin of the marker 'asyncio'"


def test_a_command_that_is_no_pytest_tells_what_it_needs(project: Path) -> None:
    (project / "check.py").write_text("import sys\nsys.path.insert(0, 'src')\nimport prog\nprog.fetch()\n")
    try:
        sandbox = Sandbox(Suite(command=(sys.executable, "check.py")), module=project / "src/prog.py", limits=PATIENT)
    except RuntimeError as error:
        pytest.skip(str(error))
    own = PROGRAM.replace('socket.create_connection(("192.0.2.1", 9), 1)', "{}['PermissionError: [Errno 1] no']")
    with sandbox:
        assert [o.needs for o in sandbox.run(PROGRAM.encode()).outcomes] == [NETWORK]
        assert [o.needs for o in sandbox.run(own.encode()).outcomes] == [None]


@pytest.mark.parametrize(
    ("ini", "top", "need"),
    [
        ("", "from prog import fetch\nfetch()", NETWORK),
        ("", "import data.loader", None),
        pytest.param(
            "strict = true", "import pytest\n@pytest.mark.asyncio\ndef test_x(): pass",
            "the pytest plugin of the marker 'asyncio'",
            # Before 9 an option alone makes markers strict, and Kelp runs files without a project's options.
            marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="`strict` is a setting since pytest 9"),
        ),
        ("", "raise PermissionError('no')", None),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_what_keeps_the_tests_from_being_imported_tells_what_they_need(
    project: Path, ini: str, top: str, need: str | None
) -> None:
    (project / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    (project / "tests/test_prog.py").write_text(dedent(top) + "\n")
    suite = Suite(pytest_files=(project / "tests/test_prog.py",))
    with Sandbox(suite, module=project / "src/prog.py", limits=PATIENT) as sandbox:
        observation = sandbox.run(PROGRAM.encode())
    assert observation.error is not None and observation.needs == need


def test_a_program_that_cannot_be_loaded_tells_what_it_needs(project: Path) -> None:
    with Sandbox(Suite(asserts=("f() == 1",)), module=project / "src/prog.py", limits=PATIENT) as sandbox:
        observation = sandbox.run(PROGRAM.encode() + b"N = fetch()\n")
        assert observation.needs == NETWORK
        observation = sandbox.run(b"import socket\ntry: socket.getaddrinfo('a.b', 1)\nexcept OSError: pass\n1 / 0\n")
        assert observation.error is not None and observation.needs is None


def test_tests_set_aside_count_nowhere_as_long_as_they_ask_for_the_same() -> None:
    passed, failed = TestOutcome("a", "pass"), TestOutcome("b", "fail")
    path, net = (TestOutcome(name, "error", needs=what) for name, what in (("c", "access to /x/1"), ("d", NETWORK)))
    before = Observation((passed, failed, path, net))
    assert before.unmet == {"c": "access to /x/1", "d": NETWORK}
    aside = before.set_aside(before.unmet)
    assert (aside.outcomes, aside.aside, aside.total, aside.ok) == ((passed, failed), (path, net), 2, False)

    def after(outcome: TestOutcome) -> Observation:
        other = TestOutcome("c", "error", needs="access to /x/2")  # its name is another in each run
        return Observation((passed, TestOutcome("b", "pass"), other, outcome))

    assert after(net).set_aside(before.unmet).ok
    assert after(TestOutcome("d", "pass", needs=NETWORK)).set_aside(before.unmet).ok  # it still asks for it
    for other in (TestOutcome("d", "pass"), TestOutcome("d", "fail"), TestOutcome("d", "error", needs=PROCESS)):
        without = after(other).set_aside(before.unmet)
        assert not without.ok and without.first_failure is not None
        assert without.first_failure.message == "it no longer asks for a network connection"
