"""All tests of a project run once, by its own pytest and beside its libraries, and none of them holds up the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.environments import OWN, Environments

from kelp.execution import Limits, Sandbox, Suite
from kelp.execution.interpreter import named
from kelp.execution.observation import TestOutcome

Surveyed = Callable[[str, str, float], dict[str, TestOutcome]]

LIMITS = """
import time

def test_waits():
    time.sleep(0.7)

def test_waits_for_ever():
    time.sleep(600)

def test_computes_for_ever():
    while True:
        pass

def test_passes():
    pass
"""
MONITORED = """
import sys

def test_the_tool_of_hypothesis_is_free():
    assert sys.monitoring.get_tool(3) is None
"""


@pytest.fixture
def surveyed(tmp_path: Path, environments: Environments) -> Surveyed:
    def run(version: str, tests: str, seconds: float) -> dict[str, TestOutcome]:
        python = named(str(environments.with_pytest(version)))
        project = tmp_path / "project"
        project.mkdir()
        (project / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
        (project / "test_all.py").write_text(tests)
        command: Sequence[str] = (python.path, "-m", "pytest")
        limits = Limits(seconds=300, memory_mb=4096, file_mb=256, open_files=1024)
        with Sandbox(Suite(command=tuple(command)), project=project, limits=limits, python=python) as sandbox:
            survey = sandbox.survey([], enough=600.0, of_a_test=seconds)
        assert survey.observation.outcomes, survey.observation.output
        return {outcome.name.partition("::")[2]: outcome for outcome in survey.observation.outcomes}

    return run


def test_a_test_that_waits_gets_more_time_than_one_that_computes_and_neither_holds_up_the_rest(
    surveyed: Surveyed,
) -> None:
    found = surveyed(OWN, LIMITS, 0.5)
    assert {name: outcome.status for name, outcome in found.items()} == {
        "test_waits": "pass", "test_waits_for_ever": "timeout", "test_computes_for_ever": "timeout",
        "test_passes": "pass",
    }  # fmt: skip
    assert found["test_waits_for_ever"].message == "it did not end within 1.5 s"


def test_no_tool_of_the_projects_libraries_is_in_use(surveyed: Surveyed) -> None:
    assert surveyed("3.13", MONITORED, 10.0)["test_the_tool_of_hypothesis_is_free"].status == "pass"


def test_a_library_that_looks_for_its_folder_when_it_is_imported_finds_that_of_the_project(
    tmp_path: Path, environments: Environments
) -> None:
    python = named(str(environments.with_pytest(OWN)))
    library = next((Path(python.path).parents[1] / "lib").glob("python*/site-packages")) / "keeps_a_place.py"
    library.write_text("import os\nPLACE = os.getcwd()\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
    (tmp_path / "program.py").write_text("def f():\n    return 1\n")
    test = "import os, keeps_a_place\n\ndef test_place():\n    assert keeps_a_place.PLACE == os.getcwd()\n"
    (tmp_path / "test_all.py").write_text(test)
    try:
        command = (python.path, "-m", "pytest")
        with Sandbox(Suite(command=command), project=tmp_path, limits=Limits(seconds=60), python=python) as sandbox:
            seen = [sandbox.survey([], enough=600.0, of_a_test=10.0).observation]
            files = {str(tmp_path / "program.py"): b"def f():\n    return 2\n"}
            seen += [sandbox.run_files(files, None) for _ in range(2)]  # the libraries are imported by then
    finally:
        library.unlink()
    assert [each.ok for each in seen] == [True, True, True]
