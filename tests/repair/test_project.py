"""Which files, functions and tests of a project a search is about, from what each of its tests reaches."""

import subprocess
from pathlib import Path

import pytest

from kelp.errors import KelpError
from kelp.execution.observation import Observation, TestOutcome
from kelp.execution.suite import Limits
from kelp.execution.survey import Place, Survey
from kelp.languages import registry
from kelp.repair.project import Diagnosis, Project, diagnose
from kelp.repair.runner import ProjectRunner
from kelp.syntax.bundle import join

PYTHON = registry.by_name("python")
SHAPES = "def area(w, h):\n    return w + h\n\n\ndef half(x):\n    return x / 2\n"
TEXT = "def title(text):\n    return text.upper()\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/shapes.py").write_text(SHAPES)
    (tmp_path / "src/text.py").write_text(TEXT)
    (tmp_path / "tests").mkdir()
    return tmp_path


def survey(root: Path, *tests: tuple[str, str, dict[str, list[int]]], frames: dict[str, Place] | None = None) -> Survey:
    """A survey of tests: each with its name, its status, and the first lines of functions that it calls, by file."""
    outcomes = tuple(TestOutcome(name, status) for name, status, _ in tests)  # type: ignore[arg-type]
    reached = {
        name: frozenset(Place(str(root / file), line) for file, lines in calls.items() for line in lines)
        for name, _, calls in tests
    }
    at = {name: (place,) for name, place in (frames or {}).items()}
    return Survey(Observation(outcomes), tuple(o.name for o in outcomes), reached, frozenset(), at)


def names(diagnosis: Diagnosis) -> list[str]:
    return [path.name for path in diagnosis.program.paths]


def test_the_file_of_the_function_that_only_failing_tests_call_comes_first(root: Path) -> None:
    diagnosis = diagnose(
        Project(root),
        survey(
            root,
            ("tests/test_a.py::test_area", "fail", {"src/shapes.py": [1], "src/text.py": [1]}),
            ("tests/test_a.py::test_half", "pass", {"src/shapes.py": [5]}),
            ("tests/test_a.py::test_title", "pass", {"src/text.py": [1]}),
            ("tests/test_a.py::test_env", "fail", {"tests/test_a.py": [3]}),
        ),
        PYTHON,
    )
    assert names(diagnosis) == ["shapes.py", "text.py"]
    assert diagnosis.goals == ("tests/test_a.py::test_area",)
    assert diagnosis.others == {"tests/test_a.py::test_env": ""}
    assert set(diagnosis.selected) == {"tests/test_a.py::test_area", "tests/test_a.py::test_title"}


def test_a_function_that_an_exception_leaves_is_more_suspicious(root: Path) -> None:
    both = {"src/shapes.py": [1], "src/text.py": [1]}
    tests = [("t.py::test_one", "error", both), ("t.py::test_two", "pass", both)]
    place = {"t.py::test_one": Place(str(root / "src/text.py"), 2)}
    assert names(diagnose(Project(root), survey(root, *tests), PYTHON)) == ["shapes.py", "text.py"]
    assert names(diagnose(Project(root), survey(root, *tests, frames=place), PYTHON)) == ["text.py", "shapes.py"]


def test_tests_ignored_files_and_excluded_ones_are_never_edited(root: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / ".gitignore").write_text("build/\n")
    (root / "build").mkdir()
    for name in ("build/made.py", "src/vendor.py", "tests/helper.py", "conftest.py", "src/test_in.py", "src/a.txt"):
        (root / name).write_text("")
    project = Project(root, exclude=("src/vend*",))
    allowed = [path.name for path in sorted(root.rglob("*.*")) if project.may_edit(str(path))]
    assert allowed == ["shapes.py", "text.py"]
    assert not project.may_edit(str(root / "src/text.py"), tests={str(root / "src/text.py")})
    assert not project.may_edit("/etc/other.py")
    narrow = Project(root, only=(root / "src/text.py",))
    assert narrow.may_edit(str(root / "src/text.py")) and not narrow.may_edit(str(root / "src/shapes.py"))


def test_the_search_is_narrowed_to_a_line_a_function_or_a_test(root: Path) -> None:
    both = ("t.py::test_one", "fail", {"src/shapes.py": [1, 5], "src/text.py": [1]})
    found = survey(root, both, ("t.py::test_two[a]", "fail", {"src/text.py": [1]}))
    at_line = Project(root, only=(root / "src/shapes.py",), line=6)
    assert names(diagnose(at_line, found, PYTHON)) == ["shapes.py"]
    assert at_line.is_chosen("half", 5, 6) and not at_line.is_chosen("area", 1, 2)
    one = diagnose(Project(root, tests=("t.py::test_two",)), found, PYTHON)
    assert one.goals == ("t.py::test_two[a]",) and names(one) == ["text.py"]
    with pytest.raises(KelpError, match=r"There is no test t\.py::test_three"):
        diagnose(Project(root, tests=("t.py::test_three",)), found, PYTHON)
    with pytest.raises(KelpError, match="No failing test runs nothing of"):
        diagnose(Project(root, only=(root / "src",), functions=("nothing",)), found, PYTHON)


class Recorder:
    """A sandbox in which every test passes, except those named for a state of the program."""

    limits = Limits()

    def __init__(self, failing: dict[bytes, set[str]]):
        self.failing, self.runs = failing, list[list[str]]()

    def run_files(self, files: dict[str, bytes], only: list[str], **_: object) -> Observation:
        self.runs.append(list(only))
        wrong = self.failing.get(join(list(files.values())), set())
        return Observation(tuple(TestOutcome(name, "fail" if name in wrong else "pass") for name in only))


def test_a_candidate_runs_what_reaches_it_and_then_all_other_tests(root: Path) -> None:
    from contextlib import nullcontext

    found = survey(
        root,
        ("t.py::test_area", "fail", {"src/shapes.py": [1]}),
        ("t.py::test_half", "pass", {"src/shapes.py": [5]}),
        ("t.py::test_both", "pass", {"src/shapes.py": [1, 5]}),
        ("t.py::test_title", "pass", {"src/text.py": [1]}),
        ("t.py::test_env", "fail", {}),
    )
    diagnosis = diagnose(Project(root), found, PYTHON)
    start = diagnosis.program.source
    fixed, halved = start.replace(b"w + h", b"w * h"), start.replace(b"w + h", b"w - h")
    wrong = {start: {"t.py::test_area"}, halved: {"t.py::test_title"}}
    sandbox = Recorder(wrong)
    runner = ProjectRunner(sandbox, diagnosis, nullcontext)  # type: ignore[arg-type]
    options = {"first": None, "seconds": None, "trace": False}
    assert not runner.run(start, **options).ok  # type: ignore[arg-type]
    assert runner.run(fixed, **options).ok  # type: ignore[arg-type]
    related, rest = sandbox.runs[1:]
    assert related == ["t.py::test_area", "t.py::test_both"]
    assert set(rest) == {"t.py::test_half", "t.py::test_title"}  # and not the one that fails for another reason
    broken = runner.run(halved, **options)  # type: ignore[arg-type]
    assert [o.name for o in broken.outcomes if o.status == "fail"] == ["t.py::test_title"] and not broken.ok
