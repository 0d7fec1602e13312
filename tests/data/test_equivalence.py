"""Each rule, and the probe that says what is equal, by running."""

import re
from collections.abc import Iterator

import pytest

from kelp.data.examples.equivalence import LIMITS, How, Question, verdicts
from kelp.execution import Sandbox
from kelp.languages.python.rewrite_rules import DIFFERENT, EQUAL, Rule

# Expressions that show the kind that a rule asks for.
SHOWING = {
    "int": "len({0})", "number": "len({0})", "ordered": "len({0})", "doubled": "len({0})", "alike": "len({0})",
    "list": "sorted({0})", "sized": "sorted({0})", "sequence": "sorted({0})", "str": "str({0})",
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=LIMITS, allow_weak=True) as sandbox:
        yield sandbox


def question(rule: Rule) -> Question:
    """The rule's two sides with what it asks of its letters shown."""
    left, right = rule.left, rule.right
    for clause in filter(None, rule.where.split(";")):
        predicate, *letters = clause.split()
        for letter in letters:
            # One of several letters is enough, but the last must do.
            shown = SHOWING.get(predicate, "{0}").format(letter[-1])
            left, right = (re.sub(rf"\b{letter[-1]}\b", shown, text) for text in (left, right))
        if predicate == "fixed":  # what is assigned must be a name
            left, right = f"x = abs(x)\n{left}", f"x = abs(x)\n{right}"
    body = "break" if left.startswith("while") else "y = 1"
    left, right = (text.replace("A", body).replace("B", "y = 2") for text in (left, right))
    how: How = "statement" if re.search(r"\n|^return|^\w [-+*/%]*= ", left) else "truth" if rule.truth else "value"
    return Question(how, left, (right,))


def test_rules_that_say_so_keep_what_code_does(sandbox: Sandbox) -> None:
    said = dict(zip([r.name for r in EQUAL], verdicts(sandbox, [question(r) for r in EQUAL])))
    assert {rule: sign for rule, sign in said.items() if sign != "="} == {}


def test_the_other_rules_change_it(sandbox: Sandbox) -> None:
    said = dict(zip([r.name for r in DIFFERENT], verdicts(sandbox, [question(r) for r in DIFFERENT])))
    assert {rule: sign for rule, sign in said.items() if sign != "!"} == {}


@pytest.mark.parametrize(
    ("how", "origin", "other", "sign"),
    [
        ("value", "a + b", "b + a", "!"),  # of texts
        ("value", "a + b - 1", "b + a - 1", "="),
        ("value", "a + b + 1", "a + (b + 1)", "!"),  # of floats
        ("value", "a * 2", "a + a", "="),
        ("value", "not a < b", "a >= b", "!"),  # of sets
        ("value", "len(x) == 0", "not x", "="),
        ("value", "a or b", "b or a", "!"),
        ("truth", "a or b", "b or a", "="),
        ("value", "f(a) + 1 + g(b)", "g(b) + 1 + f(a)", "!"),  # in another order
        ("value", "self.items() * 2", "self.items() + self.items()", "!"),  # called twice
        ("value", "self.size * 2", "self.size + self.size", "="),
        ("statement", "x = x + y", "x += y", "!"),  # a list is another then
        ("statement", "x = x + 1", "x += 1", "="),
        ("statement", "if a: break", "if a: continue", "!"),
        ("statement", "return None", "return", "="),
        ("value", "[]", "list()", "="),
        ("value", "lambda: 1", "lambda: 2", "?"),  # functions cannot be compared
        ("value", "a.no_such_method(", "a", "?"),
    ],
)
def test_running_tells_what_is_the_same(sandbox: Sandbox, how: How, origin: str, other: str, sign: str) -> None:
    assert verdicts(sandbox, [Question(how, origin, (other,))]) == [sign]


def test_a_piece_that_never_ends_costs_its_own_verdict_only(sandbox: Sandbox) -> None:
    endless = Question("statement", "while True: pass", ("while 1: pass",))
    plain = Question("value", "a * b", ("b * a", "a / b"))
    assert verdicts(sandbox, [plain, endless, plain]) == ["=!", "?", "=!"]
