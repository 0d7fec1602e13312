"""Events of a session, and its result: the patches, or the closest program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kelp.execution.observation import Observation
from kelp.repair.localize import Suspect, explained
from kelp.repair.notebook import patch_html, result_html
from kelp.repair.program import Program
from kelp.repair.reach import out_of_reach
from kelp.repair.trajectory import Candidate, State, TextEdit, Trajectory, edits_of
from kelp.search.policy import PointedSite


@dataclass(frozen=True)
class SandboxStarted:
    """The sandbox is ready. `missing` are the protections that this machine lacks, each in a few words."""

    missing: tuple[str, ...]


@dataclass(frozen=True)
class TestsObserved:
    """The tests have run on the program as it is."""

    __test__ = False  # pytest must not collect it

    observation: Observation


@dataclass(frozen=True)
class TestsSetAside:
    """Tests that fail for lack of a resource: what each needs, by name. A repair does not have to pass them.

    `others` fail too, in these ways, and are no goal: they reach no function that may be edited, or were not asked for.
    """

    __test__ = False  # pytest must not collect it

    needs: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FunctionsChosen:
    """The functions that are searched, likeliest first."""

    functions: tuple[Candidate, ...]


@dataclass(frozen=True)
class ModelReady:
    """The model is loaded; the search begins."""


@dataclass(frozen=True)
class StateTested:
    """The tests have run on a state of the program; the first one is the program as it is."""

    state: State


@dataclass(frozen=True)
class Patch:
    """A change of the program, with the states on the way to it."""

    path: tuple[State, ...]
    source: bytes  # of a project: of its changed file, if there is one
    diff: str
    files: Mapping[Path, bytes]  # every changed file with its new source

    @property
    def state(self) -> State:
        return self.path[-1]

    @property
    def edits(self) -> list[TextEdit]:
        """The edits in order; offsets of each are in the program that the edits before it made."""
        return edits_of(self.path)

    @property
    def functions(self) -> list[str]:
        """The functions that it edits."""
        return list(dict.fromkeys(state.function for state in self.path[1:]))

    def _repr_html_(self) -> str:
        return patch_html(self)


@dataclass(frozen=True)
class SitesPointed:
    """Sites of a state where the model would edit next, as far as known; offsets are bytes of the state's source."""

    state: int  # its id
    sites: tuple[PointedSite, ...]


@dataclass(frozen=True)
class PatchFound:
    """A state passes all tests. Its rank among the patches is known at the end."""

    patch: Patch


@dataclass(frozen=True)
class Result:
    """Result of a session, as a view of its trajectory."""

    trajectory: Trajectory

    @property
    def status(self) -> str:
        """`repaired`, `not repaired` or `interrupted`."""
        return self.trajectory.status

    @property
    def functions(self) -> tuple[Candidate, ...]:
        """The functions that were searched, likeliest first."""
        return self.trajectory.functions

    @property
    def timings(self) -> dict[str, float]:
        return self.trajectory.timings

    @cached_property
    def patches(self) -> tuple[Patch, ...]:
        """The programs that pass all tests, best first."""
        return tuple(self._patch(id) for id in self.trajectory.patches)

    @cached_property
    def closest(self) -> Patch | None:
        """The program that passes the most tests; None where that is the program as it was."""
        closest = self.trajectory.closest
        return None if closest.parent is None else self._patch(closest.id)

    def _repr_html_(self) -> str:
        return result_html(self)

    def fixed(self, patch: Patch) -> list[str]:
        """Return the tests that fail in the program as it was and pass with a patch."""
        before, after = self.trajectory.states[0].observation, patch.state.observation
        failed = [] if before is None else [outcome.name for outcome in before.failures]
        passed = set() if after is None else {o.name for o in after.outcomes if o.status == "pass"}
        return [name for name in failed if name in passed]

    def tests_of(self, function: str) -> list[str] | None:
        """Return the tests that run a function that was searched; None where that is not known."""
        observation, source = self.trajectory.states[0].observation, self.trajectory.source.encode()
        where = next(each for each in self.functions if each.name == function)
        first, last = (source.count(b"\n", 0, at) + 1 for at in (where.start, where.end))
        if observation is None or not observation.lines_failing:
            return None
        own = range(first, last + 1)
        return [outcome.name for outcome in observation.outcomes if not outcome.lines.isdisjoint(own)]

    def suspects(self, most: int = 3) -> list[Suspect]:
        """Return the functions that may hold the fault and why, likeliest first."""
        trajectory = self.trajectory
        observation = trajectory.states[0].observation
        return [] if observation is None else explained(trajectory.program, observation, most)

    @cached_property
    def out_of_reach(self) -> list[str]:
        """Why a repair may be out of reach, in sentences."""
        return out_of_reach(self.trajectory, self.suspects())

    def _patch(self, id: int) -> Patch:
        return patch_of(self.trajectory.program, self.trajectory.path(id), self.trajectory.sources[id])


def patch_of(program: Program, path: tuple[State, ...], source: bytes) -> Patch:
    files = program.changed(source)
    new = next(iter(files.values())) if len(files) == 1 else source
    return Patch(path=path, source=new, diff=program.diff(source), files=files)


@dataclass(frozen=True)
class Done:
    """The end of the session."""

    result: Result


@dataclass(frozen=True)
class Located:
    """The functions that may hold the fault, likeliest first, and the tests' observation; last event of `locate`."""

    suspects: tuple[Suspect, ...]
    observation: Observation


Event = (
    SandboxStarted | TestsObserved | TestsSetAside | FunctionsChosen | ModelReady | StateTested | SitesPointed
    | PatchFound | Done | Located
)  # fmt: skip
