"""`pytest --kelp`: a patch below the failures, from whichever process ran the test, and nothing else changes."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

APP = '''\
def area(width, height):
    """Area of a rectangle."""
    return width + height


def twice(value):
    return value * 2
'''
TESTS = """\
from app import shapes


def test_area():
    assert shapes.area(3, 5) == 15


def test_unit():
    assert shapes.area(1, 1) == 1


def test_twice():
    assert shapes.twice(4) == 8
"""
NO_MODEL = """\
from kelp import pytest_plugin

pytest_plugin.COMMAND += ("--model", "none", "--patches", "1")
"""
PATCH = "-    return width + height\n+    return width * height\n"
Pytest = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package in src/ with one fault, its tests, and a conftest.py that chooses the quickest search."""
    files = {
        "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['src']\n",
        "src/app/__init__.py": "",
        "src/app/shapes.py": APP,
        "tests/test_app.py": TESTS,
        "conftest.py": NO_MODEL,
    }
    for name, text in files.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    return tmp_path / "project"


@pytest.fixture
def run(project: Path) -> Pytest:
    """Runs pytest in the project and returns its output; every run must end with this exit status."""

    def run(*arguments: str, status: int = 1, folder: Path = project) -> str:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_patch_is_printed_below_the_failures_and_no_file_changes(run: Pytest, project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    output = run("--kelp")
    assert PATCH in output and output.index("FAILURES") < output.index(PATCH)
    assert "This patch repairs 2 of 2 failing tests" in output and "--kelp-write writes it" in output
    assert {path: path.read_bytes() for path in project.rglob("*.py")} == before


@pytest.mark.slow
def test_the_option_changes_neither_the_other_output_nor_the_junit_report(run: Pytest, project: Path) -> None:
    changing = re.compile(r"\d+\.\d+s|time\S*=\S+|0x\w+|={20,}|plugins: .*")  # times, addresses, plugins

    def output(*arguments: str) -> tuple[str, str]:
        printed = run("--junitxml=report.xml", *arguments)
        return changing.sub("", printed), changing.sub("", (project / "report.xml").read_text())

    without, there = output("-p", "no:kelp"), output("--kelp")
    assert output() == without
    assert there[1] == without[1]
    start, end = there[0].index(" Kelp "), there[0].index(" short test summary")
    assert there[0][:start] + there[0][end:] == without[0]


@pytest.mark.slow
def test_kelp_write_repairs_the_file_and_the_next_run_passes(run: Pytest, project: Path) -> None:
    assert "src/app/shapes.py is repaired" in run("--kelp-write")
    assert (project / "src/app/shapes.py").read_text() == APP.replace("width + height", "width * height")
    run("--kelp-write", status=0)


@pytest.mark.slow
def test_with_xdist_the_controller_prints_one_patch_after_the_workers(run: Pytest) -> None:
    output = run("--kelp", "-n", "2")
    assert output.count(PATCH) == 1 and output.index("FAILURES") < output.index(PATCH)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("-x", "-k", "area", "-rA"), ("-qq", "--tb=no")])
def test_it_works_with_other_options(run: Pytest, arguments: tuple[str, ...]) -> None:
    assert PATCH in run("--kelp", *arguments)


@pytest.mark.slow
def test_a_fault_that_only_a_traceback_shows_is_looked_for_where_it_ends(run: Pytest, project: Path) -> None:
    (project / "src/app/deep.py").write_text("def third(values):\n    return values[3]\n")
    (project / "src/app/front.py").write_text(
        "def head(values):\n    from app import deep\n\n    return deep.third(values)\n"
    )
    test = "from app.front import head\n\n\ndef test_head():\n    assert head([1, 2, 3]) == 3\n"
    (project / "tests/test_app.py").write_text(test)
    assert "-    return values[3]\n+    return values[2]\n" in run("--kelp")


@pytest.mark.slow
def test_failing_tests_that_reach_nothing_are_named_with_a_command_to_see_more(run: Pytest, project: Path) -> None:
    (project / "tests/test_app.py").write_text("def test_sum():\n    assert 1 + 1 == 3\n")
    output = run("--kelp", folder=project / "tests")
    assert "tests/test_app.py::test_sum (" in output
    assert "reaches no function that may be edited" in output
    assert f"To see more: cd {project} && kelp repair --tests tests/test_app.py::test_sum" in output


@pytest.mark.slow
def test_without_a_patch_the_suspicious_functions_are_named(run: Pytest, project: Path) -> None:
    (project / "tests/test_app.py").write_text(
        TESTS.replace("== 15", "== 4711").replace("(1, 1) == 1", "(1, 1) == 4712")
    )
    output = run("--kelp", "--kelp-seconds", "2", "-q", "tests")
    assert "No patch found: 0 of 2 tests pass" in output and "suspicious: src/app/shapes.py:1 area (100%)" in output
    assert "--tests tests/test_app.py::test_area --tests tests/test_app.py::test_unit --test-command" in output


@pytest.mark.slow
def test_passing_tests_and_collections_print_nothing_more(run: Pytest, project: Path) -> None:
    assert "Kelp" not in run("--kelp", "--collect-only", status=0)
    assert "Kelp" not in run("--kelp", "-k", "twice", status=0)


def test_a_bad_number_of_seconds_is_refused_in_one_sentence(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--kelp", "--kelp-seconds", "0"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (4, "ERROR: --kelp-seconds must be positive, not 0")


def test_it_imports_nothing_else_of_kelp_unless_asked(run: Pytest, project: Path) -> None:
    (project / "conftest.py").write_text(
        "import sys\n\n\ndef pytest_unconfigure():\n    print(sorted(n for n in sys.modules if n.startswith('kelp')))\n"
    )
    assert "['kelp', 'kelp.pytest_plugin']" in run("--collect-only", "-q", status=0)


@pytest.mark.slow
def test_it_is_inactive_where_kelp_itself_runs_the_tests(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['src']\naddopts = '--kelp'\n")
    command = [sys.executable, "-m", "kelp", "test", "src/app/shapes.py"]
    tests = (["--tests", "tests/test_app.py"], ["--test-command", f"{sys.executable} -m pytest -q"])
    for test in tests:
        done = subprocess.run([*command, *test, "--json"], cwd=project, capture_output=True, text=True)
        assert done.returncode == 1 and '"passed": 1' in done.stdout, done.stderr
        assert "Kelp" not in done.stdout
