"""What honest programs and tests do is not taken for an attack."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.execution.test_pytest_run import Project

from kelp.execution import Limits, Sandbox, Suite

PATIENT = Limits(seconds=60)
KINDS = Path(__file__).with_name("honest")  # a small test file for each kind of thing that honest tests do

# Programs, each with the asserts that hold of it.
PROGRAMS = {
    "an enum is equal to its value": (
        "import enum\nclass Color(enum.IntEnum):\n    RED = 1\ndef f():\n    return Color.RED",
        ["f() == 1", "f() == Color.RED", "f() in (0, 1)", "f() != 2", "f() == int('1')", "f() in [Color.RED]"],
    ),
    "a named tuple is equal to a tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y', defaults=[2])\ndef f():\n    return P(1)",
        ["f() == (1, 2)", "(1, 2) == f()", "f() == P(1, 2)"],
    ),
    "a class is equal to a literal by its own rule": (
        "class V:\n    def __init__(self, *xs): self.xs = xs\n    def __eq__(self, other): return self.xs == tuple(other)\n"
        "def f():\n    return V(1, 2)",
        ["f() == (1, 2)", "f() == [1, 2]"],
    ),
    "fractions, decimals and counters are equal to plain values": (
        "from collections import Counter, OrderedDict, defaultdict\nfrom decimal import Decimal\n"
        "from fractions import Fraction",
        [
            "Fraction(1, 2) == 0.5", "Decimal('1.0') == 1", "Fraction(1) == True", "Counter('aab') == {'a': 2, 'b': 1}",
            "OrderedDict(a=1) == {'a': 1}", "defaultdict(int) == {}",
        ],
    ),
    "arrays": (
        "import numpy as np\ndef f(n):\n    return np.arange(n)",
        ["(f(3) == [0, 1, 2]).all()", "np.allclose(f(3), [0, 1, 2])", "f(2).tolist() == [0, 1]", "f(3).sum() == 3",
         "f(1) == [0]", "np.float64(0.5) == 0.5"],
    ),
    "dataclasses, typing, logging and warnings": (
        "import dataclasses, logging, typing, warnings\n@dataclasses.dataclass(order=True)\nclass P(typing.Generic[typing.TypeVar('T')]):\n"
        "    x: int\ndef f():\n    logging.getLogger('x').warning('hello %s', 1)\n    warnings.warn('careful')\n"
        "    return P(1)",
        ["f() == P(1)", "f() < P(2)", "f().x == 1"],
    ),
    "threads and asyncio": (
        "import asyncio, queue, threading\nfrom concurrent.futures import ThreadPoolExecutor\nasync def g(x):\n"
        "    await asyncio.sleep(0)\n    return x\nasync def both():\n    return await asyncio.gather(g(1), asyncio.to_thread(int, '2'))\n"
        "def f():\n    with ThreadPoolExecutor(2) as pool:\n        return asyncio.run(both()) + list(pool.map(abs, [-3]))",
        ["f() == [1, 2, 3]"],
    ),
    "frames, tracebacks and inspection": (
        "import inspect, sys, traceback\ndef f():\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n"
        "        return traceback.extract_tb(error.__traceback__)[-1].name, sys._getframe().f_code.co_name, "
        "inspect.stack()[0].function",
        ["f() == ('f', 'f', 'f')"],
    ),
    "generators, contexts and recursion": (
        "import contextlib\n@contextlib.contextmanager\ndef c():\n    yield 1\ndef f(n):\n    with c() as one:\n"
        "        return one if n == 0 else f(n - 1)\ndef g():\n    yield from range(3)",
        ["f(100) == 1", "list(g()) == [0, 1, 2]", "[*g()] == [0, 1, 2]"],
    ),
    "input and output": (
        "import io, sys\ndef f():\n    sys.stdin = io.StringIO('4\\n')\n    print('hello')\n    return int(input('n? '))",
        ["f() == 4"],
    ),
    "an alarm": (
        "import signal\ndef f():\n    done = []\n    signal.signal(signal.SIGALRM, lambda *_: done.append(1))\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    signal.pause()\n    return done",
        ["f() == [1]"],
    ),
    "collecting garbage": (
        "import gc, weakref\nclass C: pass\ndef f():\n    c = C()\n    c.me = c\n    r = weakref.ref(c)\n    del c\n    gc.collect()\n"
        "    return r()",
        ["f() is None", "f() == None"],
    ),
    "a name of the builtins is added": (
        "import builtins\nbuiltins._ = str.upper\ndef f():\n    return _('a')",
        ["f() == 'A'"],
    ),
    "a random number and a temporary file": (
        "import random, tempfile\ndef f():\n    with tempfile.TemporaryFile() as file:\n        file.write(b'x')\n"
        "        return file.tell() + int(random.random())",
        ["f() == 1"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return Project(tmp_path)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_honest_program_passes(sandbox: Sandbox, name: str, trace: bool) -> None:
    source, asserts = PROGRAMS[name]
    observation = sandbox.run(source.encode(), asserts=asserts, trace=trace)
    assert observation.ok, observation


def test_honest_test_files_pass(project: Project) -> None:
    project.write("calc.py", "def add(a, b):\n    return a + b\ndef ask():\n    return input('name? ')\n")
    project.write("data/numbers.txt", "40 2")
    project.write(
        "helpers.py",
        """
        import functools, unittest
        class Base(unittest.TestCase):
            def run(self, result=None): return super().run(result)
        def twice(test):
            @functools.wraps(test)
            def run(*arguments, **named):
                test(*arguments, **named)
                test(*arguments, **named)
            return run
        """,
    )
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef nothing():\n    pytest.skip('not here')\n")
    project.write(
        "test_calc.py",
        """
        import asyncio, logging, unittest
        from pathlib import Path
        from unittest import mock
        import pytest
        from hypothesis import given, settings, strategies as st
        import calc
        from calc import add
        from helpers import Base, twice

        class Anything:
            def __eq__(self, other): return True

        def test_approx(): assert add(0.1, 0.2) == pytest.approx(0.3)
        def test_wide(): assert add(1, 2) == pytest.approx(5, abs=10)
        def test_any(): assert add(1, 2) == mock.ANY
        def test_calls():
            called = mock.Mock()
            called(); called(add(1, 2), a=mock.ANY)
            assert called.call_args_list == [mock.call(), mock.call(3, a=mock.ANY)]
            called.reset_mock(); called()
            assert called.call_args == mock.call() and called.call_args == ((), {})
        def test_any_inside(): assert {"a": add(1, 2)} == {"a": mock.ANY}
        def test_given_a_default(): assert add(*(1, 2)) in {3, 4}

        @pytest.mark.parametrize("expected", [3, pytest.approx(3.0)])
        def test_parameters(expected): assert add(1, 2) == expected

        def test_input(monkeypatch):
            monkeypatch.setattr("builtins.input", lambda prompt: "Ada")
            assert calc.ask() == "Ada"

        @mock.patch("calc.add", return_value=7)
        def test_patched(added): assert calc.add(1, 2) == 7

        @twice
        def test_wrapped(): assert add(1, 2) == 3

        @settings(max_examples=5, deadline=None, database=None)
        @given(st.integers(), st.integers())
        def test_property(a, b): assert add(a, b) == add(b, a)

        def test_captured(capsys, caplog, recwarn, tmp_path):
            print(add(1, 2))
            logging.warning("careful")
            assert capsys.readouterr().out == "3\\n" and "careful" in caplog.text

        def test_data(): assert add(*map(int, (Path(__file__).parent / "data/numbers.txt").read_text().split())) == 42
        def test_asyncio(): assert asyncio.run(asyncio.sleep(0, add(1, 2))) == 3
        def test_skipped_by_a_fixture(nothing): assert False
        def test_skipped_inside(): pytest.skip("not now")
        @pytest.mark.xfail
        def test_known(): assert add(1, 1) == 3

        class Old(unittest.TestCase):
            def setUp(self):
                if self._testMethodName == "test_not_here":
                    self.skipTest("not here")
            def test_not_here(self): self.fail()
            @unittest.skip("later")
            def test_later(self): self.fail()
            @unittest.expectedFailure
            def test_known(self): self.assertEqual(add(1, 1), 3)
            def test_equal(self):
                self.assertEqual(add(1, 2), 3)
                self.assertEqual([add(1, 2)], [3])
                self.assertAlmostEqual(add(0.1, 0.2), 0.3)
                with self.assertRaises(TypeError):
                    add(1, "x")
            def test_part(self):
                self.assertEqual(add(1, 2), 3)
                with self.subTest("inside"):
                    self.skipTest("one part")

        class Derived(Base):
            def test_base(self): self.assertEqual(add(1, 2), 3)

        class Later(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self): self.three = await asyncio.sleep(0, 3)
            async def test_async(self): self.assertEqual(add(1, 2), self.three)
            def test_plain(self): self.assertEqual(add(1, 2), self.three)
        """,
    )
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        observation = sandbox.run((project.folder / "calc.py").read_bytes())
    said = {o.name.partition("::")[2]: o.status for o in observation.outcomes}
    skipped = {"test_skipped_by_a_fixture", "test_skipped_inside", "test_known", "Old::test_not_here"}
    skipped |= {"Old::test_later", "Old::test_known", "Old::test_part"}
    assert said == {name: "skip" if name in skipped else "pass" for name in said}, observation
    assert observation.ok and len(said) == 26


@pytest.mark.parametrize("place", ["prog.py", "project/prog.py"])
def test_the_home_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (".git", ".ssh", "project", "letters"):
        (tmp_path / name).mkdir()
    (tmp_path / ".ssh" / "key").write_text("1")
    (tmp_path / "letters" / "one").write_text("1")
    module = tmp_path / place
    (module.parent / "sibling.py").write_text("ONE = 1\n")
    (module.parent / "data").write_text("1")
    module.write_text(
        f"from pathlib import Path\nimport sibling\nHOME = Path({str(tmp_path)!r})\n"
        "def data(): return int(Path(__file__).with_name('data').read_text()) * sibling.ONE\n"
        "def read(name): return int((HOME / name).read_text())\n"
    )
    suite = Suite(asserts=("data() == 1", "read('.ssh/key') == 1", "read('letters/one') == 1"))
    with Sandbox(suite, module=module, limits=PATIENT) as sandbox:
        if sandbox.protections["files"] == "none":
            pytest.skip("this kernel has no Landlock")
        outcomes = sandbox.run(module.read_bytes()).outcomes
    assert outcomes[0].status == "pass"
    assert {o.exception for o in outcomes[1:]} <= {"FileNotFoundError", "PermissionError"}


def test_files_beside_the_program_can_be_read_and_no_others(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "home" / "project"
    project.mkdir(parents=True)
    (home / "secret").write_text("1")
    (project / "data").write_text("1")
    (project / "sibling.py").write_text("ONE = 1\n")
    (project / "it.py").write_text(
        "from pathlib import Path\nimport sibling\nHERE = Path(__file__).parent\n"
        "def data():\n    return int((HERE / 'data').read_text()) * sibling.ONE\n"
        "def secret():\n    return int((HERE.parent / 'secret').read_text())\n"
    )
    suite = Suite(asserts=("data() == 1", "secret() == 1"))
    with Sandbox(suite, module=project / "it.py", limits=PATIENT) as sandbox:
        if sandbox.protections["files"] == "none":
            pytest.skip("this kernel has no Landlock")
        data, secret = sandbox.run((project / "it.py").read_bytes()).outcomes
    assert data.status == "pass" and secret.exception in ("FileNotFoundError", "PermissionError")


@pytest.fixture(scope="module")
def kinds() -> Iterator[Sandbox]:
    suite = Suite(pytest_files=tuple(sorted(KINDS.glob("test_*.py"))))
    with Sandbox(suite, module=KINDS / "shop.py", limits=Limits(seconds=300)) as sandbox:
        if sandbox.protections["mounts"] == "none":
            pytest.skip("without namespaces, what would stay inside is refused")
        yield sandbox


def test_every_kind_of_honest_test_runs_in_the_sandbox_and_again(kinds: Sandbox) -> None:
    assert len(kinds.suite.pytest_files) == 48
    for _ in range(2):  # nothing of the first run, such as a port that is taken, is in the way of the second
        observation = kinds.run((KINDS / "shop.py").read_bytes())
        assert observation.ok, [outcome for outcome in observation.outcomes if outcome.status != "pass"]


def test_processes_that_tests_start_see_the_program_under_test_and_not_the_file(kinds: Sandbox) -> None:
    wrong = (KINDS / "shop.py").read_bytes().replace(b"100 - discount", b"100 + discount")
    failed = {outcome.name for outcome in kinds.run(wrong).outcomes if outcome.status != "pass"}
    assert failed == {"test_own_command_line.py::test_the_command_line"}
    assert b"100 - discount" in (KINDS / "shop.py").read_bytes()
