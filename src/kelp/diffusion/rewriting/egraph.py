"""Terms that are equal by the rules, many of them used at once: an e-graph, grown by egglog.

Every form of a term is a number, a term `(N2 form left right)`. What each rule writes is noted with it, so that a
variant can name the rules that led to it. The rules' `where` is not asked for here: whether a variant is one in
fact, running says (`kelp.data.examples.equivalence`).
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kelp.diffusion.rewriting.apply import Rewrite, compiled, inner, letter, match
from kelp.diffusion.rewriting.rules import EQUAL, Rule
from kelp.diffusion.rewriting.terms import Form, Term

ARITY = 6  # terms with more parts stay as they are
ROUNDS = 3  # in which all rules are tried
LEVELS = 8  # of terms
KEPT = 16  # cheapest terms of a class ...
COMBINED = 64  # ... and how many ways to put them together are tried for each form
SIZE = 0.01  # cost of a part, beside 1 for one that a rule wrote


@dataclass(frozen=True)
class Derived:
    """An equal term, and the rules that wrote parts of it."""

    term: Term
    rules: tuple[str, ...]


class Equality:
    """Finds terms equal to a term. Raises ModuleNotFoundError where egglog is not installed."""

    def __init__(self, rules: tuple[Rule, ...] = EQUAL) -> None:
        from egglog.bindings import EGraph

        self.forms: dict[Form, int] = {}
        self.rewrites = [r for r in compiled(rules) if usable(r)]
        self.graph: EGraph = EGraph()
        lines = ["(datatype T (N0 i64) " + " ".join(f"(N{n} i64 {'T ' * n})" for n in range(1, ARITY + 1)) + ")"]
        lines += [f"(function by{n} (i64 {'T ' * n}) i64 :merge old)" for n in range(1, ARITY + 1)]
        lines += [self.rule(number, rewrite) for number, rewrite in enumerate(self.rewrites, start=1)]
        self.run("\n".join(lines))

    def run(self, program: str) -> None:
        self.graph.run_program(*self.graph.parse_program(program))

    def rule(self, number: int, rewrite: Rewrite) -> str:
        left, right = self.text(rewrite.left, True), self.text(rewrite.right, True)
        notes = " ".join(self.note(part, number, True) for part in rewrite.right.walk() if part.parts)
        return f"(rule ((= e {left})) ((union e {right}) {notes}))"

    def text(self, term: Term, pattern: bool) -> str:
        """The term as egglog reads it; letters of a pattern are its variables."""
        name = letter(term) if pattern else None
        if name is not None:
            return f"v{name.decode()}"
        number = self.forms.setdefault(term.form, len(self.forms))
        return f"(N{len(term.parts)} {' '.join([str(number), *(self.text(p, pattern) for p in term.parts)])})"

    def note(self, term: Term, number: int, pattern: bool) -> str:
        """Says that the term was written by a rule of this number; 0 are those that were there."""
        return f"(set (by{self.text(term, pattern)[2:-1]}) {number})"

    def variants(self, term: Term, limit: int) -> list[Derived]:
        """Up to `limit` terms equal to this one, those by the fewest rules first."""
        if any(len(part.parts) > ARITY for part in term.walk()):
            return []
        notes = " ".join(self.note(part, 0, False) for part in term.walk() if part.parts)
        self.run(f"(push) (let $given {self.text(term, False)}) {notes} (run {ROUNDS})")
        grown = json.loads(self.graph.serialize([], max_functions=None, max_calls_per_function=None).to_json())
        self.run("(pop)")
        root = next(name for name, data in grown["class_data"].items() if data.get("let") == "$given")
        found = cheapest(grown["nodes"], root)
        forms = list(self.forms)

        def build(tree: Tree) -> Term:
            return Term(forms[tree.form], tuple(map(build, tree.parts)))

        names = ["", *(rewrite.rule.name for rewrite in self.rewrites)]
        variants = []
        for tree in found:
            rules = tuple(sorted({names[number] for number in tree.rules()} - {""}))
            if (other := build(tree)) != term and (rules := rules or self.step(term, other)):
                variants.append(Derived(other, rules))
        return variants[:limit]

    def step(self, term: Term, other: Term) -> tuple[str, ...]:
        """The rules, one for each part, that lead from a term to another of which all parts were there already."""
        for rewrite in self.rewrites:
            found: dict[bytes, Term] = {}
            if match(rewrite.left, term, found) and filled(rewrite.right, found) == other:
                return (rewrite.rule.name,)
        if term.form != other.form:
            return ()
        changed = [self.step(one, new) for one, new in zip(term.parts, other.parts) if one != new]
        return tuple(sorted({rule for rules in changed for rule in rules})) if all(changed) else ()


def filled(pattern: Term, found: Mapping[bytes, Term]) -> Term:
    """The term that a pattern stands for, given its letters."""
    name = letter(pattern)
    return Term(pattern.form, tuple(filled(part, found) for part in pattern.parts)) if name is None else found[name]


def usable(rewrite: Rewrite) -> bool:
    """Blocks stay whole, and what asks for a kind of value that its own text says nothing of is left out."""
    rule = rewrite.rule
    unseen = rule.name.endswith("back") and any(kind in rule.where for kind in ("sized", "list", "str", "sequence"))
    return "\n" not in rule.left + rule.right and not unseen and letter(inner(rewrite.left)) is None


@dataclass(frozen=True, slots=True)
class Tree:
    """A term of the e-graph by numbers; `cost` counts what rules wrote, and next to nothing for its size."""

    form: int
    rule: int
    parts: tuple["Tree", ...]
    cost: float

    def rules(self) -> Iterator[int]:
        yield self.rule
        for part in self.parts:
            yield from part.rules()


def cheapest(nodes: Mapping[str, Any], root: str) -> list[Tree]:
    """The cheapest terms of a class: those of all classes from those of the classes below, a few levels high."""
    value = {node["eclass"]: int(node["op"]) for node in nodes.values() if not node["children"]}
    rule: dict[tuple[int, ...], int] = {}
    terms: list[tuple[str, int, list[str], tuple[Any, ...]]] = []
    for node in nodes.values():
        if not node["children"]:
            continue
        form, *below = [nodes[child]["eclass"] for child in node["children"]]
        key = (value[form], *below)
        if node["op"].startswith("by"):
            rule[key] = value[node["eclass"]]
        else:
            terms.append((node["eclass"], value[form], below, key))
    best: dict[str, dict[Tree, None]] = {}
    for _ in range(LEVELS):
        grown: dict[str, dict[Tree, None]] = defaultdict(dict)
        for place, number, below, key in terms:
            if not all(part in best for part in below):
                continue
            by = rule.get(key, 0)
            most = max(1, int(COMBINED ** (1 / max(1, len(below)))))
            for parts in itertools.product(*(list(best[part])[:most] for part in below)):
                cost = (1.0 if by else 0.0) + SIZE + sum(part.cost for part in parts)
                grown[place][Tree(number, by, parts, cost)] = None
        best = {place: dict.fromkeys(sorted(found, key=lambda t: t.cost)[:KEPT]) for place, found in grown.items()}
    return list(best.get(root, ()))
