"""How the Python API is used: events, stopping, models that sessions share, errors in plain words."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kelp.encoding.condition import Condition
from kelp.errors import KelpError
from kelp.execution import Limits, Sandbox, Suite
from kelp.execution.observation import Observation, TestOutcome
from kelp.repair import (
    Budget,
    CommandError,
    Done,
    FunctionsChosen,
    ModelReady,
    NoSuspect,
    NoTests,
    PatchFound,
    PointedSite,
    Result,
    SandboxStarted,
    Session,
    SitesPointed,
    StateTested,
    Tests,
    TestsObserved,
    Trajectory,
    find_tests,
)
from kelp.repair.models import SHIPPED, load
from kelp.repair.runner import FileRunner
from kelp.search.policy import Bound, Policy, Proposal
from kelp.syntax.program import Program

pytestmark = pytest.mark.slow

BROKEN = "def area(width, height):\n    return width + height\n\n\ndef half(x):\n    return x / 2\n"
FIXED = BROKEN.replace("width + height", "width * height")
ASSERTS = ("area(2, 3) == 6", "assert area(3, 3) == 9", "half(4) == 2")


def result_of(session: Session) -> Result:
    *_, done = session.run()
    assert isinstance(done, Done)
    return done.result


def test_a_session_tells_what_happens_as_events() -> None:
    session = Session(BROKEN, Tests(asserts=ASSERTS), Budget(patches=1), model="none")
    events = list(session.run())
    order = [type(event) for event in events]
    assert order[:4] == [SandboxStarted, TestsObserved, FunctionsChosen, ModelReady]
    assert order[-2:] == [PatchFound, Done] and set(order[4:-2]) == {StateTested}
    observed, chosen = events[1], events[2]
    assert isinstance(observed, TestsObserved) and (observed.observation.passed, observed.observation.total) == (1, 3)
    assert isinstance(chosen, FunctionsChosen) and [each.name for each in chosen.functions] == ["area"]
    assert chosen.functions[0].log_prob == 0.0  # half passes its test
    tested = [event.state for event in events if isinstance(event, StateTested)]
    assert [state.run for state in tested] == list(range(1, len(tested) + 1))
    assert tested[0].parent is None and tested[0].origin == "start"
    found, done = events[-2], events[-1]
    assert isinstance(found, PatchFound) and isinstance(done, Done)
    assert found.patch.source.decode() == FIXED and found.patch.functions == ["area"]
    assert found.patch == done.result.patches[0]
    assert done.result is session.result


OUTSIDE = """\
RATE = 20
UNITS = ("m", "s")


class Box:
    SIDES: int = 4

    def edges(self):
        return self.SIDES * 2


def tax(price):
    return price * RATE // 100 + RATE
"""


@pytest.mark.parametrize("model", ["none", "default"])
@pytest.mark.parametrize(
    "asserts, old, new, names",
    [
        (("tax(100) == 42", "tax(300) == 84", "tax(0) == 21"), "RATE = 20", "RATE = 21", ["tax", "RATE"]),
        (("Box().edges() == 6", "Box().SIDES == 3"), "SIDES: int = 4", "SIDES: int = 3", ["Box.edges", "Box.SIDES"]),
    ],
)
def test_values_outside_of_functions_that_suspicious_lines_read_are_edited(
    asserts: tuple[str, ...], old: str, new: str, names: list[str], model: str
) -> None:
    events = list(Session(OUTSIDE, Tests(asserts=asserts), Budget(runs=64), model=model).run())
    (chosen,) = (event.functions for event in events if isinstance(event, FunctionsChosen))
    assert [each.name for each in chosen] == names
    assert OUTSIDE[chosen[1].start : chosen[1].end] == old
    done = events[-1]
    assert isinstance(done, Done)
    assert OUTSIDE.replace(old, new) in [patch.source.decode() for patch in done.result.patches]


def test_the_result_has_patches_with_their_diffs_and_all_of_the_way() -> None:
    result = result_of(Session(BROKEN, Tests(asserts=ASSERTS), Budget(patches=1), model="none", seed=3))
    assert (result.status, len(result.patches)) == ("repaired", 1)
    assert "-    return width + height\n+    return width * height\n" in result.patches[0].diff
    assert [edit.new for edit in result.patches[0].edits] == ["*"]
    assert {"sandbox", "first_tests", "search", "total"} <= set(result.timings)
    trajectory = result.trajectory
    assert (trajectory.model, trajectory.seed, trajectory.budget) == ("none", 3, Budget(patches=1))
    assert Trajectory.loads(trajectory.dumps()) == trajectory


def test_a_file_is_repaired_by_the_tests_beside_it_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(BROKEN)
    (tmp_path / "test_shapes.py").write_text(
        "from shapes import area\n\ndef test_area():\n    assert area(2, 3) == 6 and area(1, 1) == 1\n"
    )
    assert find_tests(tmp_path / "shapes.py") == [tmp_path / "test_shapes.py"]
    session = Session(tmp_path / "shapes.py", budget=Budget(patches=1), model="none")
    assert session.tests == Tests(files=(tmp_path / "test_shapes.py",))
    assert result_of(session).patches[0].source.decode() == FIXED
    assert (tmp_path / "shapes.py").read_text() == BROKEN


def test_without_a_patch_the_closest_program_is_told() -> None:
    tests = Tests(asserts=("area(2, 3) == 6", "area(1, 1) == 17"))
    result = result_of(Session(BROKEN, tests, Budget(edits=1), model="none", functions=["area"]))
    assert (result.status, result.patches) == ("not repaired", ())
    assert result.closest is not None and result.closest.state.observation is not None
    assert result.closest.state.observation.passed == 1


@pytest.mark.parametrize("own", [True, False], ids=["own sandbox", "shared sandbox"])
def test_another_thread_may_stop_it_and_it_ends_with_what_it_has(own: bool) -> None:
    with Sandbox() as shared:
        tests = Tests(asserts=("area(2, 3) == 6", "area(1, 1) == 17"))
        options = {} if own else {"sandbox": shared}
        session = Session(BROKEN, tests, Budget(runs=10**6, seconds=600.0), model="none", **options)
        states = 0
        for event in session.run():
            if isinstance(event, StateTested):
                states += 1
                if states == 3:
                    stopper = threading.Thread(target=session.stop)
                    stopper.start()
                    stopper.join()
        assert isinstance(event, Done)
        assert (event.result.status, len(event.result.trajectory.states)) == ("interrupted", 3)
        if not own:
            assert shared.run(b"", asserts=["True"]).ok  # it serves on


def test_a_session_that_is_stopped_in_the_middle_of_a_run_ends_soon() -> None:
    hangs = "import time\n\ndef area(width, height):\n    time.sleep(60)\n    return width + height\n"
    session = Session(hangs, Tests(asserts=("area(2, 3) == 6",)), Budget(seconds=600.0), model="none")
    threading.Timer(1.0, session.stop).start()
    with pytest.raises(KelpError) as stopped:
        list(session.run())
    assert stopped.value.status == "interrupted"
    assert session.result is None


def test_a_session_that_is_left_early_keeps_what_was_found() -> None:
    session = Session(BROKEN, Tests(asserts=ASSERTS), model="none")
    for event in session.run():
        if isinstance(event, PatchFound):
            break
    assert session.result is not None
    assert (session.result.status, session.result.patches[0].source.decode()) == ("interrupted", FIXED)


@pytest.mark.skipif(not (SHIPPED / "default").is_dir(), reason="this installation comes without a model")
def test_sessions_in_several_threads_share_a_model_and_find_what_each_finds_alone() -> None:
    model = load(SHIPPED / "default")
    sources = [BROKEN, BROKEN.replace("area", "surface"), BROKEN.replace("\n\n\n", "\n\n\nSIDES = 4\n\n\n")]

    def repaired(source: str) -> tuple[list[str], list[float | None]]:
        tests = Tests(asserts=tuple(text.replace("area", source[4 : source.index("(")]) for text in ASSERTS))
        result = result_of(Session(source, tests, Budget(runs=12, seconds=600.0, patches=1), model=model))
        return [patch.diff for patch in result.patches], [patch.state.log_prob for patch in result.patches]

    alone = [repaired(source) for source in sources]
    together: dict[int, tuple[list[str], list[float | None]]] = {}
    threads = [
        threading.Thread(target=lambda i=i, source=source: together.update({i: repaired(source)}))
        for i, source in enumerate(sources)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (diffs, log_probs) in enumerate(alone):
        assert diffs and together[number][0] == diffs
        # Sums are rounded otherwise where a session that ends gives its threads back.
        assert together[number][1] == pytest.approx(log_probs, abs=1e-3)


def test_any_policy_may_stand_in_for_a_model() -> None:
    class Knows(Policy):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            from kelp.syntax.edits import Edit

            at = program.source.index(b"+")
            yield Proposal(Edit(at, at + 1, b"*"), -1.0, "model")

    result = result_of(Session(BROKEN, Tests(asserts=ASSERTS), model=Knows()))
    assert (result.trajectory.runs, result.patches[0].source.decode()) == (2, FIXED)


def test_sites_of_a_pointer_are_told_with_their_places_in_the_file() -> None:
    class Points(Policy):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
            from kelp.syntax.edits import Edit

            at = program.source.index(b"+")
            yield Bound(0.0, pointer=(PointedSite(at, at + 1, 0.5),))
            yield Proposal(Edit(at, at + 1, b"*"), -1.0, "model")

    session = Session("SIDES = 4\n\n\n" + BROKEN, Tests(asserts=ASSERTS), model=Points())
    events = list(session.run())
    at = session.source.index(b"+")
    assert [event for event in events if isinstance(event, SitesPointed)] == [
        SitesPointed(state=0, sites=(PointedSite(at, at + 1, 0.5),))
    ]
    trajectory = events[-1].result.trajectory
    assert trajectory.pointer == {0: (PointedSite(at, at + 1, 0.5),)}
    assert Trajectory.loads(trajectory.dumps()) == trajectory


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (KelpError, {"asserts": ("area(2, 2) == 4",)}, "All tests of shapes.py pass already (1 of 1)."),
        (KelpError, {"files": (Path("test_empty.py"),)}, "There is no test in test_empty.py."),
        (NoSuspect, {"asserts": ("1 == 2",)},
         "The failing tests reach no function of shapes.py (the first is 1 == 2): name the function."),
        (NoTests, None,
         "No tests are given, and there is no test_shapes.py beside shapes.py or in tests/: name tests."),
        (CommandError, {"command": ("nosuch", "x")},
         "The test command 'nosuch x': there is no program nosuch on the PATH."),
    ],
)  # fmt: skip
def test_errors_name_no_options(
    kind: type[KelpError], given: dict[str, Any] | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shapes.py").write_text(BROKEN)
    Path("test_empty.py").write_text("import shapes\n")
    with pytest.raises(KelpError) as raised:
        list(Session(Path("shapes.py"), None if given is None else Tests(**given), model="none").run())
    assert (type(raised.value), str(raised.value)) == (kind, message)
    assert "--" not in str(raised.value)


def test_bad_tests_are_refused_at_once() -> None:
    with pytest.raises(KelpError, match=r"'area\(1, 2\) ==' is no Python expression"):
        Tests(asserts=("area(1, 2) ==",))
    with pytest.raises(CommandError, match="the command decides alone"):
        Tests(asserts=ASSERTS, command=("pytest",))
    with pytest.raises(KelpError, match="does not exist"):
        Tests(files=(Path("nowhere/test_x.py"),))


WITHOUT_EXTRAS = """
import sys
from kelp.extras import LIBRARIES
for name in {{name for libraries in LIBRARIES.values() for name in libraries}}:
    sys.modules[name] = None
from kelp.repair import Budget, Done, Session, Tests
session = Session({source!r}, Tests(asserts=("area(2, 3) == 6", "area(3, 3) == 9")), Budget(patches=1), model={model!r})
*_, done = session.run()
print(done.result.status)
print([name for name in sys.modules if name.startswith(("kelp.data", "kelp.training"))])
"""


def test_a_repair_needs_no_library_of_an_extra_and_nothing_of_training() -> None:
    model = "default" if (SHIPPED / "default").is_dir() else "none"
    script = WITHOUT_EXTRAS.format(source=BROKEN, model=model)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "repaired\n[]\n", done.stderr


ORDERED = """
from shapes import area
{before}
def test_small():
    assert area(1, 1) == 1
def test_tall():
    assert area(1, 7) == 7
def test_wide():
    assert area(5, 1) == 5
def test_large():
    assert area(9, 3) == 27
"""
IN_TURN = "turns = []\ndef setup_function(function):\n    turns.append(function)\n    assert turns[0] is test_small\n"
STATEFUL = "answers = [1, 7, 5, 27]\ndef area(width, height):\n    return answers.pop(0)\n"


@pytest.mark.parametrize(
    ("before", "program", "passes"),
    [
        ("", FIXED, True),
        ("", STATEFUL, False),
        (IN_TURN, FIXED, True),
    ],
)
def test_a_patch_must_pass_in_another_order_too_unless_the_tests_depend_on_it(
    tmp_path: Path, before: str, program: str, passes: bool
) -> None:
    (tmp_path / "shapes.py").write_text(BROKEN)
    (tmp_path / "test_shapes.py").write_text(ORDERED.format(before=before))
    tests = Tests(files=(tmp_path / "test_shapes.py",))
    suite = Suite(pytest_files=tests.files)
    with Sandbox(suite, module=tmp_path / "shapes.py", limits=Limits(seconds=60)) as sandbox:
        assert sandbox.run(program.encode()).ok
        runner = FileRunner(sandbox, tests, shared=False, stopping=threading.Event(), original=BROKEN.encode())
        assert runner.run(program.encode(), first=None, seconds=None, trace=False).ok is passes


def test_all_runs_that_confirm_a_patch_are_within_the_seconds_that_are_left(tmp_path: Path) -> None:
    given = []

    class Passing:
        limits = Limits()

        def run(self, source: bytes, *, seconds: float, shuffle: int | None = None, **options: object) -> Observation:
            given.append(seconds)
            return Observation((TestOutcome("t", "pass" if shuffle is None else "fail"),))

    passing: Any = Passing()
    runner = FileRunner(passing, Tests(), shared=False, stopping=threading.Event(), original=b"before")
    assert runner.run(b"after", first=None, seconds=7.0, trace=False).ok  # the tests of the file as it is depend on it
    assert len(given) == 5 and 7.0 >= given[0] >= given[1] >= given[-1] > 0.0
    assert runner.run(b"after", first=None, seconds=0.0, trace=False) and max(given[5:]) == 0.01


def test_a_candidate_may_load_for_as_long_as_the_file_as_it_is() -> None:
    session = Session("def f():\n    return 1\n", Tests(asserts=("f() == 2",)), model="none")
    slow = Observation((TestOutcome("f() == 2", "fail", seconds=0.1),), seconds=4.0)
    late = Observation((TestOutcome("f() == 2", "timeout"),), seconds=10.0)
    limits = session._candidate_limits(Limits(), slow)
    assert limits.cpu_seconds is not None and limits.cpu_seconds > 4.0 and limits.seconds >= 3 * 4.0
    limits = session._candidate_limits(Limits(), late)
    assert (limits.cpu_seconds, limits.seconds) == (0.5, 2.0)
