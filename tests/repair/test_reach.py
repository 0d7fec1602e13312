"""Where no patch is found, the result says which kind of repair was out of reach, if the failures show one."""

from collections.abc import Iterator

import pytest

from kelp.encoding.condition import Condition
from kelp.execution import Limits, Sandbox, Suite
from kelp.repair import Done, Session, Tests
from kelp.repair.trajectory import UNNAMED
from kelp.search.policy import Bound, PointedSite, Policy, Proposal
from kelp.syntax.program import Program

PROGRAM = """\
RATE = 20
LOW, HIGH = 1, 5

def price(cents):
    sign = "-" if cents < 0 else ""
    return f"{sign}{cents // 100}.{cents % 100}"

def root(x):
    return math.sqrt(x)

def tax(price):
    return price * RATE // 100

class Box:
    sides = 4
    def double(self):
        return self.sides * 2

def use(box):
    return box.triple()

def other(box):
    return box.duoble()

def low():
    return LOW
"""


STRING = f"In the string at {UNNAMED}:6 only values, formats and patterns are edited, not the text."


class Pointing(Policy):
    """Proposes nothing, and points at the first place of a text, if it has one."""

    def __init__(self, text: bytes = b""):
        self.text = text

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        start = program.source.find(self.text)
        pointer = (PointedSite(start, start + len(self.text), 0.7), PointedSite(start, start + 3, 0.3))
        yield Bound(-1.0, pointer=pointer if self.text and start >= 0 else ())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Suite(), limits=Limits(seconds=10)) as sandbox:
        yield sandbox


def reasons(sandbox: Sandbox, test: str, policy: Policy = Pointing()) -> list[str]:
    *_, done = Session(PROGRAM, Tests(asserts=(test,)), model=policy, sandbox=sandbox).run()
    assert isinstance(done, Done) and not done.result.patches
    return done.result.out_of_reach


@pytest.mark.parametrize(
    "test, reason",
    [
        ("price(105) == '1.05'", STRING),
        ("root(4) == 2", "Nothing here defines 'math': a repair adds no imports, functions, classes or methods."),
        ("use(Box()) == 2", "Nothing here defines 'triple': a repair adds no imports, functions, classes or methods."),
        ("tax(100) == 19", None),  # the rate may be edited
        ("Box().double() == 12", None),  # the sides too
        ("low() == 3", f"LOW ({UNNAMED}:2) is set outside functions, where no edit was tried."),
        ("other(Box()) == 8", None),  # another name is one edit
        ("price(105) == 3", None),  # the test does not want another string
    ],
)  # fmt: skip
def test_the_failure_and_the_suspicious_lines_show_it(sandbox: Sandbox, test: str, reason: str | None) -> None:
    assert reasons(sandbox, test) == ([reason] if reason else [])


def test_a_model_that_points_at_a_whole_statement_wants_it_written(sandbox: Sandbox) -> None:
    whole, part = Pointing(b"return price * RATE // 100"), Pointing(b"price * RATE")
    wanted = f"The model expects whole statements to be written, likeliest at {UNNAMED}:12: it writes short ones alone."
    assert reasons(sandbox, "tax(100) == 19", whole) == [wanted]
    assert reasons(sandbox, "tax(100) == 19", part) == []
