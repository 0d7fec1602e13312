"""No hostile program passes, and none leaves anything behind: no file, process, packet, descriptor, memory or state."""

import fcntl
import os
import platform
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.execution import hostile

from kelp.execution import Limits, Observation, Sandbox, Suite

pytestmark = pytest.mark.slow

TEST = "f() == 1"
# Of these a wrong f passes none.
TESTS = (TEST, "math.isclose(f(), 1)", "len([f()]) == 2", "sum([f(), 1]) == 2", "f() == [1]", "f() == {'a': (1,)}")
TESTS += ("f() == 4 ** 2", "f() == [1] * 2", "f() == fractions.Fraction(1, 2)")
GOOD = b"def f():\n    return 1\ndef g():\n    return 2\n"
LIMITS = Limits(seconds=30, memory_mb=256)  # for honest programs on a slow machine
SECONDS = 3.0  # for hostile ones, which may not pass however long they take
BRIEF = 0.4  # for those that never end
TEST_FILE = """
import unittest
from fractions import Fraction
import pytest
from it import f, g

def test_f():
    assert f() == 1

def test_g():
    assert g() == 2

def test_half():
    assert Fraction(f(), 2) == Fraction(1, 2)
    assert [f()] == [Fraction(1, 1)]

def test_len():
    assert len([f()] * 2) == f() + 1

def test_raises():
    with pytest.raises(ValueError):
        {1: int}[f()]("x")

class Old(unittest.TestCase):
    def test_old(self):
        self.assertEqual(f(), 1)
        self.assertEqual([g()], [2])
"""
GROWTH_MB = 48  # of this process, from one program: what a reply may hold, with room to spare


@dataclass
class World:
    """What a program must not change, and the sandboxes that are to see to that."""

    canary: Path
    homes: Path
    tcp: socket.socket
    others: list[socket.socket]
    sandbox: Sandbox
    files: Sandbox

    def fill(self, source: str) -> bytes:
        port = str(self.tcp.getsockname()[1])
        places = {"CANARY": str(self.canary), "PORT": port, "PARENT": str(os.getpid()), "TESTS": str(self.tests)}
        for name, value in places.items():
            source = source.replace(name, value)
        return source.encode()

    @property
    def tests(self) -> Path:
        return self.files.suite.pytest_files[0].parent


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    canary = tmp_path_factory.mktemp("canary")
    (canary / "kept").write_text("kept")
    project = tmp_path_factory.mktemp("project")
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "it.py").write_bytes(GOOD)
    (project / "test_it.py").write_text(TEST_FILE)
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unix.bind(f"\0kelp-{port}")
    paths = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    paths.bind(str(canary / "socket"))
    for each in (tcp, udp, unix, paths):
        each.setblocking(False)
    os.environ["KELP_CANARY"] = "SECRET"
    homes = tmp_path_factory.mktemp("homes")
    usual, tempfile.tempdir = tempfile.tempdir, str(homes)
    suite = Suite(pytest_files=(project / "test_it.py",))
    with (
        tcp, udp, unix, paths, Sandbox(limits=LIMITS) as sandbox,
        Sandbox(suite, module=project / "it.py", limits=LIMITS) as files,
    ):  # fmt: skip
        if missing := [part for part, how in sandbox.protections.items() if how == "none"]:
            pytest.skip(f"this machine has no protection of: {', '.join(missing)}")
        yield World(canary, homes, tcp, [udp, unix, paths], sandbox, files)
    del os.environ["KELP_CANARY"]
    tempfile.tempdir = usual
    assert not any(homes.iterdir())


@pytest.fixture(autouse=True)
def nothing_is_left(world: World) -> Iterator[None]:
    before = state(world)
    memory = resident_mb()
    yield
    assert state(world) == before
    assert resident_mb() - memory < GROWTH_MB
    with pytest.raises(BlockingIOError):
        world.tcp.accept()
    for each in world.others:
        with pytest.raises(BlockingIOError):
            each.recv(1)


def state(world: World) -> dict[str, object]:
    """Everything that a program might have changed, to be compared."""
    folders = ["/tmp", "/var/tmp", "/dev/shm", "/root", str(Path.home())]
    signs = [name for folder in folders if os.access(folder, os.R_OK) for name in os.listdir(folder)]
    return {
        "files": {
            str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for folder in (world.canary, world.tests)
            for path in sorted(folder.rglob("*"))
            if "__pycache__" not in path.parts
        },
        "signs": [name for name in signs if "kelp-was-here" in name],
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "processes": processes(world),
        "homes": sorted(map(str, world.homes.rglob("*"))),
        "folder": os.getcwd(),
    }


def processes(world: World) -> set[int]:
    """Those of the sandboxes: their home is in a folder that nobody else has."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={world.homes}".encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fails(observation: Observation, *, whole: bool = True) -> None:
    """Nothing passed; where not the `whole` run counts, nothing of it that is vouched for."""
    assert not observation.ok
    passed = [outcome for outcome in observation.outcomes if outcome.status in ("pass", "skip")]
    assert not [outcome for outcome in passed if whole or outcome.vouched], observation


@pytest.mark.parametrize("name", hostile.VERDICT)
def test_a_wrong_program_cannot_say_that_it_is_right(world: World, name: str) -> None:
    source = world.fill(hostile.VERDICT[name])
    observation = world.sandbox.run(source, asserts=TESTS, setup="import math, fractions", seconds=SECONDS)
    fails(observation, whole=False)
    for outcome in observation.outcomes:
        if outcome.status == "pass":  # alone, so that a verdict on it takes all that one ever takes
            alone = world.sandbox.run(source, asserts=[outcome.name], setup="import math, fractions", seconds=SECONDS)
            assert not any(outcome.vouched for outcome in alone.outcomes), alone
    assert all(outcome.vouched for outcome in world.sandbox.run(GOOD, asserts=[TEST]).outcomes)


@pytest.mark.parametrize("name", hostile.PYTEST)
def test_a_wrong_program_cannot_talk_pytest_over(world: World, name: str) -> None:
    fails(world.files.run(world.fill(hostile.PYTEST[name]), seconds=SECONDS))
    assert world.files.run(GOOD.replace(b"return 1", b"return int(1)")).passed == 6


@pytest.mark.parametrize("name", hostile.ENDLESS)
def test_a_program_that_never_ends_is_ended(world: World, name: str) -> None:
    fails(world.sandbox.run(world.fill(hostile.ENDLESS[name]), asserts=[TEST], seconds=BRIEF))


@pytest.mark.parametrize("name", hostile.EFFECT)
def test_a_program_gets_away_with_nothing(world: World, name: str) -> None:
    if "call(" in hostile.EFFECT[name] and platform.machine() != "x86_64":
        pytest.skip("the numbers of system calls are those of x86-64")
    observation = world.sandbox.run(world.fill(hostile.EFFECT[name]), asserts=[TEST], seconds=SECONDS)
    if name not in hostile.CONTAINED:
        fails(observation)
    assert world.sandbox.run(GOOD, asserts=[TEST]).ok


def test_state_does_not_leak_from_one_program_to_the_next(world: World) -> None:
    before = world.sandbox.run(hostile.LOOKS.encode(), asserts=[TEST]).outcomes[0]
    assert before.status == "fail"
    world.sandbox.run(hostile.LEAVES.encode(), asserts=[TEST])
    assert world.sandbox.run(hostile.LOOKS.encode(), asserts=[TEST]).outcomes[0].got == before.got


def test_what_a_run_does_to_its_copy_of_the_project_ends_with_it(world: World) -> None:
    ruins = "import os, sys\nfor name in os.listdir('TESTS'):\n"
    ruins += "    try: os.remove('TESTS/' + name)\n    except OSError: pass\n"
    ruins += (
        "for path in ('TESTS', os.environ['HOME'], '/dev/shm'):\n    try: os.chmod(path, 0)\n    except OSError: pass\n"
    )
    fails(world.files.run(world.fill(ruins + "def f():\n    return 2\ndef g():\n    return 3\n")))
    assert world.files.run(GOOD.replace(b"return 1", b"return int(1)")).passed == 6


def test_sockets_and_locks_of_the_project_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    program = f"""
import fcntl, socket
def locks():
    with open({str(tmp_path / "pytest.ini")!r}) as file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return 1
def connects():
    socket.socket(socket.AF_UNIX).connect({str(tmp_path / "socket")!r})
    return 1
"""
    (tmp_path / "it.py").write_text(program)
    suite = Suite(asserts=("locks() == 1", "connects() == 1"))
    with (
        socket.socket(socket.AF_UNIX) as server, open(tmp_path / "pytest.ini") as locked,
        Sandbox(suite, module=tmp_path / "it.py", limits=LIMITS) as sandbox,
    ):  # fmt: skip
        if sandbox.protections["mounts"] == "none":
            pytest.skip("without a mount namespace there is no copy, and no sockets")
        server.bind(str(tmp_path / "socket"))
        server.listen()
        fcntl.flock(locked, fcntl.LOCK_EX)
        locks, connects = sandbox.run(program.encode()).outcomes
    assert locks.status == "pass"  # of the copy: the user's file is locked
    assert connects.exception in ("ConnectionRefusedError", "FileNotFoundError")


def test_a_test_that_passes_does_not_stand_in_for_one_that_fails(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "it.py").write_bytes(GOOD)
    easy = "def test_easy():\n    assert f() > 0\n"
    (tmp_path / "test_it.py").write_text("from it import f\n" + easy + "def test_hard():\n    assert f() == 1\n")
    program = hostile.STAND_IN.encode()
    with Sandbox(Suite(pytest_files=(tmp_path / "test_it.py",)), module=tmp_path / "it.py", limits=LIMITS) as sandbox:
        assert [outcome.status for outcome in sandbox.run(GOOD).outcomes] == ["pass", "pass"]
        assert [outcome.status for outcome in sandbox.run(program).outcomes] == ["pass", "error"]


def test_a_forged_list_of_modules_gives_a_run_no_file_that_it_may_not_read(tmp_path: Path) -> None:
    secret, project = tmp_path / "secret.py", tmp_path / "project"
    project.mkdir()
    secret.write_text("KEY = 'hunter2'\n")
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "link.py").symlink_to(secret)
    files = {"secret": str(secret), "link": str(project / "link.py")}
    forged = f"{hostile.FORGE}{hostile.USE}{hostile.WALK}\ntry: report().modules({files!r}, {list(files.values())!r})\n"
    forged += "except AttributeError: pass\nimport kelp.execution.worker.code_cache as c\n"
    mine = "p for each in (c.PROJECT, c.TESTS) for p in each.paths()"
    forged += f"def f():\n    return [{mine} if p in {list(files.values())}]\n"
    (project / "it.py").write_text(forged)
    with Sandbox(Suite(asserts=("f() == []",)), module=project / "it.py", limits=LIMITS) as sandbox:
        observation = sandbox.run(forged.encode())
        assert observation.ok, observation


def test_there_are_at_least_sixty_of_them() -> None:
    kinds = (hostile.VERDICT, hostile.PYTEST, hostile.ENDLESS, hostile.EFFECT)
    assert all(len(kind) >= 10 for kind in kinds) and sum(map(len, kinds)) >= 60
