"""pytest files: run by pytest itself, with the program served from memory."""

from pathlib import Path
from textwrap import dedent

import pytest

from kelp.execution import Limits, Observation, Sandbox, Suite

pytestmark = pytest.mark.slow

PATIENT = Limits(seconds=60)
ADD = "def add(a, b):\n    return a + b\n"


class Project:
    """Files in a folder, and running its tests with another source in place of one of them."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    def sandbox(self, module: str, *tests: str) -> Sandbox:
        suite = Suite(pytest_files=tuple(self.folder / test for test in tests))
        return Sandbox(suite, module=self.folder / module, limits=PATIENT)

    def run(self, source: str, module: str, *tests: str, **options: object) -> Observation:
        with self.sandbox(module, *tests) as sandbox:
            return sandbox.run(dedent(source).encode(), **options)  # type: ignore[arg-type]

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # so that the search for a root ends here
    return Project(tmp_path)


def test_fixtures_parameters_conftest_unittest_and_tmp_path_work_and_nothing_is_left(project: Project) -> None:
    project.write("calc.py", "raise SystemError('the file itself is not run')\n")
    project.write("helper.py", "from calc import add\nTHREE = add(1, 2)\n")
    project.write("numbers.txt", "40 2")
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef two():\n    return 2\n")
    project.write(
        "test_calc.py",
        """
        import unittest
        from pathlib import Path
        import pytest
        from calc import add
        import helper

        @pytest.mark.parametrize("a, total", [(1, 3), (2, 4)])
        def test_adds(a, two, total):
            assert add(a, two) == total

        def test_files(tmp_path):
            (tmp_path / "x").write_text("x")
            Path("here").write_text("y")
            numbers = Path(__file__).with_name("numbers.txt").read_text().split()
            assert add(*map(int, numbers)) == 42
            assert helper.THREE == 3

        def test_raises():
            with pytest.raises(TypeError):
                add(1, "a")

        @pytest.mark.skip
        def test_later():
            assert False

        @pytest.mark.xfail
        def test_known():
            assert add(1, 1) == 3

        class TestOld(unittest.TestCase):
            def test_it(self):
                self.assertEqual(add(1, 1), 2)
        """,
    )
    before = project.files()
    observation = project.run(ADD, "calc.py", "test_calc.py", trace=True)
    assert observation.error is None
    assert {o.name: o.status for o in observation.outcomes} == {
        "test_calc.py::test_adds[1-3]": "pass",
        "test_calc.py::test_adds[2-4]": "pass",
        "test_calc.py::test_files": "pass",
        "test_calc.py::test_raises": "pass",
        "test_calc.py::test_later": "skip",
        "test_calc.py::test_known": "skip",
        "test_calc.py::TestOld::test_it": "pass",
    }
    assert observation.ok
    assert observation.lines_passing == {2}
    assert project.files() == before


def test_a_traced_run_follows_fixtures_too(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write(
        "test_calc.py",
        """
        import pytest
        from calc import add

        @pytest.fixture
        def total():
            return add(1, 2)

        def test_total(total):
            assert total == 4
        """,
    )
    assert project.run(ADD, "calc.py", "test_calc.py", trace=True).lines_failing == {2}


def test_a_failed_test_tells_call_got_and_expected(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write(
        "test_calc.py",
        """
        import unittest
        import pytest
        from calc import add

        @pytest.mark.parametrize("a, b, total", [(3, 4, 7)])
        def test_parameters(a, b, total):
            assert add(a, b) == total

        def test_swapped():
            assert 7 == add(3, b=4)

        def test_variable():
            result = add(3, 4)
            assert result == 7

        def test_truth():
            assert not add(3, 4)

        def test_less():
            assert add(3, 4) < 5

        def test_about():
            assert add(3, 4) == pytest.approx(7.0)

        def test_says_nothing_when_caught():
            with pytest.raises(AssertionError):
                assert 1 == 2
            assert add(3, 4) == 7

        def test_raises():
            with pytest.raises(ValueError):
                add(3, 4)

        class TestOld(unittest.TestCase):
            def test_it(self):
                self.assertEqual(add(3, 4), 7)
            def test_parts(self):
                for b in (3, 4):
                    with self.subTest(b=b):
                        self.assertEqual(add(3, b), 3 + b)
        """,
    )
    observation = project.run(ADD.replace("+", "*"), "calc.py", "test_calc.py")
    assert {o.status for o in observation.outcomes} == {"fail"}
    said = {o.name.rpartition("::")[2]: (o.call, o.got, o.expected) for o in observation.outcomes}
    assert said["test_parameters[3-4-7]"] == ("add(3, 4)", "12", "7")
    assert said["test_swapped"] == ("add(3, b=4)", "12", "7")
    assert said["test_variable"] == ("add(3, 4)", "12", "7")
    assert said["test_truth"] == ("add(3, 4)", "12", "False")
    assert said["test_less"] == ("add(3, 4)", "12", "< 5")
    assert said["test_about"][:2] == ("add(3, 4)", "12")
    assert said["test_says_nothing_when_caught"] == ("add(3, 4)", "12", "7")
    assert said["test_it"] == ("add(3, 4)", "12", "7")
    assert said["test_parts"] == ("add(3, 3)", "9", "6")
    assert observation.render() == "0/10 add(3, 4) got 12 want 7"


def test_got_is_what_the_program_computes_on_whichever_side_it_stands(project: Project) -> None:
    source = """
        from dataclasses import dataclass
        from decimal import Decimal

        @dataclass
        class Bill:
            amount: Decimal

        def bill(amount):
            return Bill(Decimal(amount))

        def names(text):
            return {text}
        """
    project.write("bills.py", source)
    project.write("shop.py", "import bills\nclass Shop:\n    def bill(self):\n        return bills.bill(4)\n")
    cases = {
        "result": ("result = bill(4)", "result", "Bill(Decimal(6))"),
        "found": ("found = names('a')", "found", "set()"),
        "amount": ("made = bills.Bill(Decimal(4))", "made.amount", "Decimal('5')"),
        "library": ("expected = set('b')", "names('a')", "expected"),
        "approx": ("", "float(bill(4).amount)", "pytest.approx(5.0)"),
        "fixture": ("", "made.amount", "Decimal('5')"),
        "helper": ("", "helped()", "Decimal('5')"),
        "other": ("shop = Shop()", "shop.bill()", "tuple('b')"),
        "loop": ("for result in [bill(4)]: pass", "result", "tuple('b')"),
        "parts": ("one, two = bill(4), 2", "one", "tuple('b')"),
    }
    lines = [
        "import unittest", "from decimal import Decimal", "import pytest",
        "import bills", "from bills import Bill, bill, names", "from shop import Shop",
        "@pytest.fixture", "def made():", "    return bill(4)", "def helped():", "    return bill(4).amount",
    ]  # fmt: skip
    for name, (before, left, right) in cases.items():
        given = "made" if name == "fixture" else ""
        for order, test in (("as_is", f"{left} == {right}"), ("swapped", f"{right} == {left}")):
            lines += [f"def test_{name}_{order}({given}):", f"    {before or 'pass'}", f"    assert {test}"]
    lines += ["class TestOld(unittest.TestCase):", "    def setUp(self):", "        self.made = bill(4)"]
    for name, (before, left, right) in (cases | {"held": ("", "self.made.amount", "Decimal('5')")}).items():
        if name != "fixture":
            for order, test in (("as_is", f"{left}, {right}"), ("swapped", f"{right}, {left}")):
                lines += [f"    def test_{name}_{order}(self):", f"        {before or 'pass'}"]
                lines += [f"        self.assertEqual({test})"]
    project.write("test_bills.py", "\n".join(lines) + "\n")
    observation = project.run(source, "bills.py", "test_bills.py")
    assert observation.error is None
    assert {o.status for o in observation.outcomes} == {"fail"}
    for outcome in observation.outcomes:
        assert outcome.got is not None and any(text in outcome.got for text in ("4", "'a'")), outcome
    said = {o.name.rpartition("::")[2]: (o.call, o.got, o.expected) for o in observation.outcomes}
    assert said["test_result_as_is"] == ("bill(4)", "Bill(amount=Decimal('4'))", "Bill(amount=Decimal('6'))")
    assert said["test_result_swapped"] == said["test_result_as_is"]
    assert said["test_found_swapped"] == ("names('a')", "{'a'}", "set()")
    assert said["test_amount_swapped"] == ("made.amount", "Decimal('4')", "Decimal('5')")


def test_other_comparisons_are_turned_round_with_their_word(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write(
        "test_calc.py",
        """
        import unittest
        from calc import add

        def test_less():
            assert 5 < add(2, 2)

        def test_in():
            assert 5 in [add(2, 2)]

        def test_both():
            assert add(2, 2) == add(1, 2)

        def test_neither():
            assert str(2) == repr(3)

        class TestOld(unittest.TestCase):
            def test_not(self):
                self.assertNotEqual(4, add(2, 2))
        """,
    )
    observation = project.run(ADD, "calc.py", "test_calc.py")
    assert [(o.call, o.got, o.expected) for o in observation.outcomes] == [
        ("add(2, 2)", "4", "> 5"),
        ("[add(2, 2)]", "[4]", "containing 5"),
        ("add(2, 2)", "4", "3"),
        ("str(2)", "'2'", "'3'"),
        ("add(2, 2)", "4", "!= 4"),
    ]


def test_an_exception_tells_the_call_and_the_programs_line(project: Project) -> None:
    project.write("calc.py", "def first(xs):\n    return xs[0]\n")
    project.write("test_calc.py", "from calc import first\ndef test_first():\n    xs = []\n    assert first(xs) == 1\n")
    [said] = project.run("def first(xs):\n    return xs[0]\n", "calc.py", "test_calc.py").outcomes
    assert (said.status, said.call, said.exception, said.line) == ("error", "first([])", "IndexError", 2)


def test_a_name_that_the_program_lacks_is_an_error_of_the_run(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write("test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        missing = sandbox.run(b"def plus(a, b): return a + b\n")
        assert missing.error is not None
        assert missing.error.startswith("ImportError: cannot import name 'add' from 'calc'")
        assert "test_calc.py" in missing.error and not missing.ok

        broken = sandbox.run(b"import math\nx = math.nothing\n")
        assert broken.error is not None and broken.error.startswith("AttributeError line 2: ")
        assert broken.error_line == 2

        syntax = sandbox.run(b"def add(:\n")
        assert syntax.error is not None and syntax.error.startswith("SyntaxError line 1: ")
        assert sandbox.run(ADD.encode()).ok


def test_a_broken_test_file_or_conftest_and_no_tests_at_all_can_be_told_apart(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write("test_calc.py", "import nothing_of_that_name\n")
    observation = project.run(ADD, "calc.py", "test_calc.py")
    assert observation.error is not None
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in observation.error
    assert "importing test_calc.py" in observation.error

    project.write("test_calc.py", "x = 1\n")
    assert project.run(ADD, "calc.py", "test_calc.py").error == "no tests were found"

    project.write("conftest.py", "1 / 0\n")
    observation = project.run(ADD, "calc.py", "test_calc.py")
    assert observation.error == "ZeroDivisionError: division by zero (while loading conftest.py)"


def layouts() -> dict[str, tuple[str, str, str]]:
    """Module, test file and import, for the ways in which projects are laid out."""
    return {
        "beside": ("calc.py", "test_calc.py", "from calc import add"),
        "tests folder": ("calc.py", "tests/test_calc.py", "from calc import add"),
        "package": ("pkg/sub/calc.py", "tests/test_calc.py", "from pkg.sub.calc import add"),
        "tests in the package": ("pkg/sub/calc.py", "pkg/sub/tests/test_calc.py", "from ..calc import add"),
        "src": ("src/pkg/sub/calc.py", "tests/test_calc.py", "from pkg.sub.calc import add"),
        "folder without __init__": ("examples/calc.py", "test_calc.py", "from examples.calc import add"),
        "by its own name in a package": ("pkg/sub/calc.py", "tests/test_calc.py", "from calc import add"),
        "module": ("calc.py", "test_calc.py", "import calc\nadd = calc.add"),
    }


@pytest.mark.parametrize("layout", layouts())
def test_the_program_is_served_under_every_name_that_leads_to_its_file(project: Project, layout: str) -> None:
    module, test, statement = layouts()[layout]
    path = project.write(module, "def add(a, b):\n    return 0\n")
    for folder in path.parents:
        if folder.name in ("pkg", "sub"):
            (folder / "__init__.py").touch()
    project.write(test, f"{statement}\ndef test_add():\n    assert add(1, 2) == 3\n")
    if "tests in" in layout:
        (project.folder / test).with_name("__init__.py").touch()
    with project.sandbox(module, test) as sandbox:
        assert sandbox.run(ADD.encode()).ok
        assert sandbox.run(path.read_bytes()).render() == "0/1 add(1, 2) got 0 want 3"


def test_settings_of_pytest_that_decide_what_can_be_imported_are_kept(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\npythonpath = code\naddopts = --import-mode=importlib --cov --nothing\n")
    project.write("code/calc.py", ADD)
    for folder in ("a", "b"):  # two files of one name need the mode
        project.write(f"{folder}/test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    assert project.run(ADD, "code/calc.py", "a/test_calc.py", "b/test_calc.py").passed == 2


def test_settings_edited_meanwhile_are_read_again(project: Project) -> None:
    project.write("calc.py", ADD)
    test = """
        import warnings
        from calc import add
        def test_add(pytestconfig):
            warnings.warn("old")
            assert add(1, 2) == pytestconfig.getoption("--sum", 3)
        """
    project.write("test_calc.py", test)
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        assert sandbox.run(ADD.encode()).ok
        project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
        assert sandbox.run(ADD.encode()).render().endswith("UserWarning: old")
        project.write("pytest.ini", "[pytest]\nfilterwarnings =\n    ignore\n")
        assert sandbox.run(ADD.encode()).ok
        project.write("conftest.py", "def pytest_addoption(parser):\n    parser.addoption('--sum', default=4)\n")
        assert sandbox.run(ADD.encode()).render() == "0/1 add(1, 2) got 3 want 4"


def test_settings_run_none_of_the_project_outside_a_run(project: Project, version_of_pytest: tuple[int, ...]) -> None:
    project.write("pytest.ini", "[pytest]\npythonpath = more\nfilterwarnings =\n    error::marked.Marked\n")
    # Before 8.4 pytest looks for the classes of `filterwarnings` before it reads `pythonpath`.
    folder = "more" if version_of_pytest >= (8, 4) else "."
    first = "import os, sys\nsys.marked = getattr(sys, 'marked', os.getpid())\n"
    project.write(f"{folder}/marked.py", first + "class Marked(Warning): pass\n")
    project.write("conftest.py", first)
    project.write("calc.py", ADD)
    project.write(
        "test_calc.py",
        """
        import os, sys, warnings
        from calc import add
        from marked import Marked
        def test_add():
            assert sys.marked == os.getpid()
            assert add(1, 2) == 3
        def test_warn():
            warnings.warn("no", Marked)
        """,
    )
    ran = project.run(ADD, "calc.py", "test_calc.py")
    assert [(outcome.status, outcome.exception) for outcome in ran.outcomes] == [("pass", None), ("error", "Marked")]


def test_a_module_loaded_by_its_path_is_the_program_too(project: Project) -> None:
    project.write("my-calc.py", "def add(a, b):\n    return 0\n")
    project.write(
        "test_calc.py",
        """
        import importlib.util, inspect, pathlib
        spec = importlib.util.spec_from_file_location("anything", pathlib.Path(__file__).with_name("my-calc.py"))
        calc = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(calc)

        def test_add():
            assert calc.add(1, 2) == 3
            assert "a + b" in inspect.getsource(calc.add)
        """,
    )
    assert project.run(ADD, "my-calc.py", "test_calc.py").ok


def test_a_test_file_may_be_the_program_itself(project: Project) -> None:
    text = "def add(a, b):\n    return 0\ndef test_add():\n    assert add(1, 2) == 3\n"
    project.write("test_calc.py", text)
    with project.sandbox("test_calc.py", "test_calc.py") as sandbox:
        assert sandbox.run(text.encode()).render() == "0/1 add(1, 2) got 0 want 3"
        assert sandbox.run(text.replace("return 0", "return a + b").encode()).ok


def test_the_wanted_test_runs_first_and_a_failure_can_stop_the_run(project: Project) -> None:
    project.write("calc.py", ADD)
    tests = "".join(f"def test_{n}():\n    assert add({n}, 1) == 2\n" for n in range(4))
    project.write("test_calc.py", "from calc import add\n" + tests)
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        observation = sandbox.run(ADD.encode(), first="test_calc.py::test_2", stop_on_failure=True)
        assert [o.name for o in observation.outcomes] == ["test_calc.py::test_2"]
        assert (observation.total, observation.not_run) == (4, 3)
        observation = sandbox.run(ADD.encode(), first="test_calc.py::test_1", stop_on_failure=True)
        assert [o.status for o in observation.outcomes] == ["pass", "fail"]


def test_pytest_files_go_along_with_asserts(project: Project) -> None:
    module = project.write("calc.py", ADD)
    test = project.write("test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    suite = Suite(asserts=("add(1, 1) == 3",), pytest_files=(test,))
    with Sandbox(suite, module=module, limits=PATIENT) as sandbox:
        assert [o.status for o in sandbox.run(ADD.encode()).outcomes] == ["fail", "pass"]
        stopped = sandbox.run(ADD.encode(), stop_on_failure=True)
        assert (len(stopped.outcomes), stopped.total) == (1, 2)
        other = sandbox.run(ADD.encode(), first="test_calc.py::test_add")
        assert [o.status for o in other.outcomes] == ["pass", "fail"]


def test_a_test_file_edited_meanwhile_is_read_again(project: Project) -> None:
    project.write("calc.py", ADD)

    def write(total: int) -> None:
        test = f"from calc import add\ndef test_add():\n    assert add(1, 2) == {total}\n"
        project.write("test_calc.py", test)

    write(3)
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        assert sandbox.run(ADD.encode()).ok
        write(1234)
        assert sandbox.run(ADD.encode()).render() == "0/1 add(1, 2) got 3 want 1234"


def test_a_project_file_named_like_a_library_is_what_its_tests_import(project: Project) -> None:
    project.write("fractions.py", ADD)
    project.write("statistics.py", "from fractions import add\ndef mean(a, b):\n    return add(a, b) / 2\n")
    project.write("test_it.py", "from statistics import mean\ndef test_mean():\n    assert mean(1, 3) == 2\n")
    with project.sandbox("fractions.py", "test_it.py") as sandbox:
        assert sandbox.run(ADD.encode()).ok
        assert not sandbox.run(ADD.replace("+", "*").encode()).ok


def test_a_folder_named_like_kelp_changes_nothing(project: Project) -> None:
    project.write("kelp/notes.txt", "")
    project.write("calc.py", ADD)
    project.write("test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        assert sandbox.run(ADD.encode()).ok
        assert sandbox.run(ADD.replace("+", "-").encode()).render() == "0/1 add(1, 2) got -1 want 3"


def test_what_the_project_has_on_pythonpath_is_for_the_runs_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "more"))
    project.write("more/statistics.py", "import os, sys\nsys.ran = getattr(sys, 'ran', os.getpid())\nTWO = 2\n")
    project.write("calc.py", ADD)
    project.write(
        "test_calc.py",
        """
        import os, sys
        from statistics import TWO
        from calc import add
        def test_add():
            assert add(1, 1) == TWO
            assert sys.ran == os.getpid()
        """,
    )
    assert project.run(ADD, "calc.py", "test_calc.py").ok


def test_a_program_cannot_skip_its_tests(project: Project) -> None:
    project.write("calc.py", ADD)
    project.write("other.py", ADD)
    project.write("test_calc.py", "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    project.write("test_other.py", "from other import add\ndef test_add():\n    assert add(1, 2) == 3\n")
    with project.sandbox("calc.py", "test_calc.py", "test_other.py") as sandbox:
        inside = sandbox.run(b"import pytest\ndef add(a, b):\n    pytest.skip('no')\n")
        assert [o.status for o in inside.outcomes] == ["error", "pass"]
        outside = sandbox.run(b"import pytest\npytest.skip('no', allow_module_level=True)\n")
        assert not outside.ok and outside.error is not None and "line 2" in outside.error


def test_tests_may_skip_what_they_skip_with_the_file_as_it_is_and_no_more(
    project: Project, version_of_pytest: tuple[int, ...]
) -> None:
    project.write("calc.py", "def add(a, b):\n    return a - b\n")
    project.write(
        "test_calc.py",
        """
        import unittest
        import pytest
        from calc import add
        def test_add(): assert add(1, 2) == 3
        def test_later(): pytest.skip("later")
        @pytest.mark.xfail
        def test_zero(): assert add(0, 0) == 1
        @pytest.mark.skipif(add(0, 1) == 1, reason="marked so")
        def test_marked(): assert add(1, 1) == 0
        class Old(unittest.TestCase):
            def test_part(self):
                self.assertEqual(add(1, 2), 3)
                with self.subTest("inside"):
                    self.skipTest("one part")
        """,
    )
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        right = sandbox.run(b"def add(a, b):\n    return a + b\n")
        statuses = {o.name.partition("::")[2]: o.status for o in right.outcomes}
        # Before 9 pytest knows no subtests: one that is skipped ends its test, which fails with the file as it is.
        part = "skip" if version_of_pytest >= (9,) else "error"
        assert (statuses.pop("test_add"), statuses.pop("Old::test_part")) == ("pass", part), right
        assert set(statuses.values()) == {"skip"} and right.ok == (part == "skip"), right


def test_an_async_test_without_a_plugin_ends_as_pytest_ends_it(
    project: Project, version_of_pytest: tuple[int, ...]
) -> None:
    project.write("calc.py", ADD)
    project.write("test_calc.py", "from calc import add\nasync def test_add(): assert add(1, 2) == 3\n")
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        status = "fail" if version_of_pytest >= (8, 4) else "skip"  # before, pytest skips it with a warning
        assert [o.status for o in sandbox.run(ADD.encode()).outcomes] == [status]


def test_the_sandbox_runs_the_same_pytest(project: Project, version_of_pytest: tuple[int, ...]) -> None:
    project.write("calc.py", ADD)
    test = f"import pytest\ndef test_version(): assert pytest.version_tuple[:3] == {version_of_pytest}\n"
    project.write("test_calc.py", test)
    assert project.run(ADD, "calc.py", "test_calc.py").ok


def test_a_program_cannot_hand_its_tests_a_function_that_skips(project: Project) -> None:
    project.write("calc.py", "def add(a, b):\n    return a + b\ndef upper(a):\n    return a\n")
    project.write(
        "test_calc.py",
        """
        from calc import add, upper
        def test_add(): assert add(1, 2) == 3
        def test_upper(): assert upper("x") == "X"
        """,
    )
    with project.sandbox("calc.py", "test_calc.py") as sandbox:
        observation = sandbox.run(b"import pytest\ndef add(a, b):\n    return a + b\nupper = pytest.skip\n")
    assert [o.status for o in observation.outcomes] == ["pass", "error"] and not observation.ok
    assert observation.outcomes[1].message == "it was skipped, but runs with the file as it is"


def test_pytest_files_need_a_module(project: Project) -> None:
    test = project.write("test_calc.py", "")
    with pytest.raises(ValueError, match="module's path is needed"):
        Sandbox(Suite(pytest_files=(test,)))
    with pytest.raises(FileNotFoundError, match="is not a file"):
        Sandbox(Suite(pytest_files=(test,)), module=project.folder / "nothing.py")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Suite(pytest_files=(project.folder / "test_nothing.py",))


PARAMETERS = """
import pytest
from it import evens, halves

@pytest.mark.parametrize("n", evens(6))
def test_even(n):
    assert n % 2 == 0

def test_halves():
    assert halves(4) == 2
"""
EVENS = "def evens(n):\n    return list(range(0, n, 2))\ndef halves(n):\n    return n {}\n"


SKIPPED = "import pytest; return [pytest.param(0, marks=pytest.mark.skip)] * 3"


@pytest.mark.parametrize("body", ["return []", "return [0]", SKIPPED])
def test_a_program_that_makes_tests_vanish_does_not_pass(project: Project, body: str) -> None:
    project.write("it.py", EVENS.format("* 2"))
    project.write("test_it.py", PARAMETERS)
    good = EVENS.format("// 2")
    with project.sandbox("it.py", "test_it.py") as sandbox:
        assert sandbox.run(EVENS.format("* 2").encode()).passed == 3
        assert sandbox.run(good.encode()).ok
        assert sandbox.run(good.replace("list(range(0, n, 2))", "[2, 4, 8]").encode()).ok  # as many
        assert not sandbox.run(good.replace("return list(range(0, n, 2))", body).encode()).ok


def test_a_seed_shuffles_the_tests_of_files(project: Project) -> None:
    project.write("it.py", "seen = []\ndef see(n):\n    seen.append(n)\n    return seen\n")
    tests = "from it import see\n" + "".join(f"def test_{n}():\n    see({n})\n" for n in range(6))
    tests += "class TestIt:\n" + "".join(f"    def test_{n}(self): see({n})\n" for n in range(3))
    project.write("test_it.py", tests)
    with project.sandbox("it.py", "test_it.py") as sandbox:
        source = (project.folder / "it.py").read_bytes()
        usual, other, again = ([o.name for o in sandbox.run(source, shuffle=seed).outcomes] for seed in (None, 1, 1))
    assert usual != other == again and sorted(usual) == sorted(other)
    inside = [at for at, name in enumerate(other) if "TestIt" in name]
    assert inside == list(range(inside[0], inside[0] + 3))  # its fixtures are set up once
