"""Results of running tests against a program."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kelp.execution.worker.protocol import STATUSES, Outcome, Status, function_of

NEWLY_SKIPPED = "it was skipped, but runs with the file as it is"


@dataclass(frozen=True)
class TestOutcome:
    """One test: *fail* is an assertion that did not hold, *error* any other exception or a process that died.

    `call`, `got` and `expected` are the first comparison that did not hold, as source and shortened reprs: `got` is
    the side that the program computes, left or right, and the left one where that is unknown.
    `line` is the innermost line of the program file (1-based) on the exception's traceback; `lines`, in traced runs
    only, are all lines that the test executed.
    `needs`, a noun phrase like "a network connection", is a resource that the test asked for and the sandbox refuses:
    a failure for lack of it is no fault of the program.
    `vouched`: a process that has never run the program has seen that the test holds, by the values that it compares or
    the text that its examples print. Else whoever runs in the program's process could have made it pass.
    """

    __test__ = False  # pytest must not collect it

    name: str
    status: Status
    seconds: float = 0.0
    call: str | None = None
    got: str | None = None
    expected: str | None = None
    exception: str | None = None
    message: str | None = None
    line: int | None = None
    lines: frozenset[int] = frozenset()
    needs: str | None = None
    vouched: bool = False

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, got {self.status!r}")


def outcome_of(event: Outcome, lines: frozenset[int]) -> TestOutcome:
    """The outcome that a run reports, `lines` being those that the test executed."""
    facts = {name: value for name, value in event.items() if name not in ("event", "evidence")}
    return TestOutcome(**facts, lines=lines)  # type: ignore[arg-type]


def fewer(before: Iterable[str], now: Iterable[str]) -> int:
    """Return how many tests of the same functions run fewer than before, whatever their parameters are."""
    return (Counter(map(function_of, before)) - Counter(map(function_of, now))).total()


@dataclass(frozen=True)
class Observation:
    """The outcomes of one run, in the order they ran.

    `error` says in one sentence why the tests could not be run at all (`error_line`: the program's line in it;
    `needs`: as for a single test).
    `not_run` counts tests that were never started: after a stop at the first failure, a timeout, or an error.
    `output` is the beginning of the run's standard output and error.
    `aside` are outcomes that are counted nowhere: tests that need a resource which the sandbox refuses (`set_aside`).
    """

    outcomes: tuple[TestOutcome, ...]
    error: str | None = None
    error_line: int | None = None
    not_run: int = 0
    seconds: float = 0.0
    output: str = field(default="", repr=False)
    needs: str | None = None
    aside: tuple[TestOutcome, ...] = ()

    @property
    def unmet(self) -> dict[str, str]:
        """Refused resources by the name of the test that failed for lack of one."""
        return {outcome.name: outcome.needs for outcome in self.failures if outcome.needs is not None}

    def set_aside(self, needs: Mapping[str, str]) -> "Observation":
        """Move the tests named here to `aside`, as long as each still asks for the resource that it needs.

        A test that no longer asks for it counts as an error even if it passes, since whether it should is unknown.
        """
        kept: list[TestOutcome] = []
        aside: list[TestOutcome] = []
        for outcome in self.outcomes:
            wanted = needs.get(outcome.name)
            if wanted is None:
                kept.append(outcome)
            elif (outcome.needs or "").partition("/")[0] == wanted.partition("/")[0]:  # a path may be another each time
                aside.append(outcome)
            else:
                message = f"it no longer asks for {wanted}"
                kept.append(replace(outcome, status="error", got=None, expected=None, exception=None, message=message))
        return replace(self, outcomes=tuple(kept), aside=tuple(aside))

    @property
    def failures(self) -> tuple[TestOutcome, ...]:
        """Outcomes of the tests that neither passed nor were skipped."""
        return tuple(outcome for outcome in self.outcomes if outcome.status not in ("pass", "skip"))

    @property
    def passed(self) -> int:
        return sum(outcome.status == "pass" for outcome in self.outcomes)

    @property
    def total(self) -> int:
        return len(self.outcomes) + self.not_run

    @property
    def ok(self) -> bool:
        """True where every test ran and passed; some may be skipped, but not all of them."""
        return self.error is None and self.not_run == 0 and self.passed > 0 and not self.failures

    @property
    def vouched(self) -> bool:
        """True where it is `ok`, and every test that passed is vouched for."""
        return self.ok and all(outcome.vouched for outcome in self.outcomes if outcome.status == "pass")

    @property
    def lines_failing(self) -> frozenset[int]:
        """Lines that failing tests executed."""
        return frozenset().union(*(outcome.lines for outcome in self.failures))

    @property
    def lines_passing(self) -> frozenset[int]:
        return frozenset().union(*(o.lines for o in self.outcomes if o.status == "pass"))

    @property
    def first_failure(self) -> TestOutcome | None:
        return self.failures[0] if self.failures else None

    def render(self, first_line: int = 1) -> str:
        """At most 200 characters for a model: tests passed and the first failure.

        Lines are counted from `first_line`, the function's first.  For example `2/5 f(3, 4) got 7 want 12`
        or `0/3 f([]) IndexError line 4: list index out of range`.
        """
        head = f"{self.passed}/{self.total}"
        if self.error is not None:
            line = None if self.error_line is None else self.error_line - first_line + 1
            error = self.error
            if self.error_line is not None:
                shown = f" line {line}" if line is not None and line >= 1 else ""
                error = error.replace(f" line {self.error_line}", shown)
            return shorten(f"{head} {error}", 200)
        failure = self.first_failure
        if failure is None:
            return head
        call = shorten(failure.call or failure.name, 70)
        if failure.status == "timeout":
            return shorten(f"{head} {call} timeout", 200)
        if failure.got is not None and failure.expected is not None:
            return f"{head} {call} got {shorten(failure.got, 50)} want {shorten(failure.expected, 50)}"
        at = "" if failure.line is None or failure.line < first_line else f" line {failure.line - first_line + 1}"
        message = f": {failure.message}" if failure.message else ""
        return shorten(f"{head} {call} {failure.exception or failure.status}{at}{message}", 200)


@dataclass(frozen=True)
class CallResult:
    """Result of evaluating one call expression: its repr, or the exception's name.

    `round_trips`: evaluating the repr gives an equal value of the same type, so `call == repr` can be an assert.
    """

    call: str
    repr: str | None = None
    exception: str | None = None
    round_trips: bool = False


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in the repr of objects without their own: it differs in every run


def shorten(text: str, limit: int) -> str:
    """`text` on one line, without addresses, its middle cut out where it is longer than `limit` characters."""
    text = _ADDRESS.sub("", " ".join(text[: 20 * limit].split()))
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 3
    return text[: limit - 1 - tail] + "…" + text[len(text) - tail :]
