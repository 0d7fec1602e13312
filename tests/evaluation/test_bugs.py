"""The bugs in examples/bugs: each is one, its fix is right, and no benchmark has it."""

import ast
import shutil
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from tests.programs import functions

from kelp.data.corpus.decontaminate import Excluded, excluded_source, shipped
from kelp.diffusion.diff import shortest_path
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import BUGS, read_folder
from kelp.execution import Limits, Sandbox, Suite

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = EXAMPLES / "bugs"
GROUPS = {"wrong logic", "missing logic", "excess logic", "wrong value", "wrong call", "wrong variable"}
CASES, SKIPPED = read_folder(FOLDER)

Results = dict[str, Counter[str]]  # of each test file: how many of its tests pass, fail, ...


def run_all(folder: Path) -> Results:
    """What the tests of all bugs say, in one run: a sandbox for each of them would take minutes."""
    files = sorted(folder.glob("*/test_*.py"))
    first = folder / CASES[0].id / f"{CASES[0].module}.py"
    suite, limits = Suite(pytest_files=tuple(files)), Limits(seconds=300)
    with Sandbox(suite, module=first, limits=limits, allow_weak=True) as sandbox:
        observation = sandbox.run(first.read_bytes())
    assert (observation.error, observation.not_run) == (None, 0)
    results: Results = {file.stem: Counter() for file in files}
    for outcome in observation.outcomes:
        results[Path(outcome.name.partition("::")[0]).stem][outcome.status] += 1
    return results


def checks(case: Case) -> int:
    """Hidden asserts, and blocks that must raise."""
    assert isinstance(case.hidden_tests, str)
    nodes = list(ast.walk(ast.parse(case.hidden_tests)))
    raising = [node for node in nodes if isinstance(node, ast.With) and "raises" in ast.unparse(node.items[0])]
    return len(raising) + sum(isinstance(node, ast.Assert) for node in nodes)


def programs(case: Case) -> tuple[str, str]:
    """With the bug, and without it."""
    assert case.fixed is not None
    return case.source, case.fixed


def test_every_folder_is_a_case() -> None:
    assert SKIPPED == []
    assert {case.id for case in CASES} == {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert [case.id for case in CASES if not (case.fixed and case.hidden_tests and case.intent.endswith("."))] == []
    assert not {case.module for case in CASES} & sys.stdlib_module_names


def test_the_groups_are_balanced() -> None:
    sizes = Counter(case.group for case in CASES)
    assert (set(sizes), sizes.total()) == (GROUPS, 40)
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_every_bug_fails_some_visible_tests_and_passes_others() -> None:
    results = run_all(FOLDER)
    visible = {case.id: results[f"test_{case.module}"] for case in CASES}
    assert [name for name, found in visible.items() if not 2 <= found.total() <= 4] == []
    assert [name for name, found in visible.items() if not 0 < found["pass"] < found.total()] == []
    hidden = {case.id: results[f"test_{case.module}_hidden"] for case in CASES}
    assert [name for name, found in hidden.items() if found["pass"] == found.total()] == []


def test_every_fix_passes_all_tests(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "bugs")
    for case in CASES:
        folder = tmp_path / "bugs" / case.id
        (folder / "fixed.py").replace(folder / f"{case.module}.py")
    results = run_all(tmp_path / "bugs")
    assert {name: found for name, found in results.items() if set(found) != {"pass"}} == {}


def test_hidden_tests_check_much() -> None:
    assert {case.id: checks(case) for case in CASES if checks(case) < 8} == {}


def test_edits_of_functions_lead_to_the_fix_as_many_as_is_said() -> None:
    said = {name: about["edits"] for name, about in tomllib.loads((FOLDER / BUGS).read_text()).items()}
    taken = {}
    for case in CASES:
        source, (_, fixed) = case.source.encode(), programs(case)
        taken[case.id] = 0
        for number, goal in enumerate(functions(fixed.encode())):
            for edit in shortest_path(functions(source)[number].program, goal.program):
                source = functions(source)[number].to_file(edit).apply(source)
                taken[case.id] += 1
        assert source.decode() == fixed
    assert taken == said


def test_functions_are_short() -> None:
    windows = [window for case in CASES for text in programs(case) for window in functions(text.encode())]
    assert [window.qualname for window in windows if window.last_line - window.first_line >= 60] == []


def test_no_function_is_that_of_a_benchmark_or_of_another_example() -> None:
    excluded = Excluded(f for f in shipped().fingerprints if not f.label.startswith("examples/bugs/"))
    found = {
        case.id: match
        for case in CASES
        for text in programs(case)
        for fingerprint in excluded_source(text, case.id)
        if (match := excluded.match(fingerprint))
    }
    assert found == {}


def test_they_are_kept_out_of_training() -> None:
    excluded = shipped()
    assert all(
        excluded.match(fingerprint)
        for case in CASES
        for text in programs(case)
        for fingerprint in excluded_source(text, case.id)
    )
