"""Terms that are equal by several rules at once, found in an e-graph that egglog grows.

A form is a number, and a term with two parts is `(N2 form left right)`. A function `by2` of the same arguments holds
the number of the rule that wrote the term, so that a variant can name its rules. The rules' `where` is ignored:
running decides whether a variant is equal (`kelp.data.examples.equivalence`).
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kelp.diffusion.rewriting.apply import Rewrite, compiled, inner, letter, match
from kelp.diffusion.rewriting.terms import Form, Term
from kelp.languages.python.rewrite_rules import EQUAL, Rule

ARITY = 6  # most parts of a term in the graph
ROUNDS = 3  # applications of all rules
LEVELS = 8  # height of the terms that are extracted
KEPT = 16  # cheapest terms per class
COMBINED = 64  # combinations of parts tried per form
SIZE = 0.01  # cost of a term; 1 more if a rule wrote it


@dataclass(frozen=True)
class Derived:
    """An equal term, and the names of the rules that wrote parts of it."""

    term: Term
    rules: tuple[str, ...]


class Equality:
    """The e-graph of a set of rules, to find terms equal to a term.

    Raises ModuleNotFoundError where egglog is not installed.
    """

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
        """A rewrite as a rule of egglog."""
        left, right = self.text(rewrite.left, True), self.text(rewrite.right, True)
        notes = " ".join(self.note(part, number, True) for part in rewrite.right.walk() if part.parts)
        return f"(rule ((= e {left})) ((union e {right}) {notes}))"

    def text(self, term: Term, pattern: bool) -> str:
        """A term as egglog reads it; letters of a pattern are its variables."""
        name = letter(term) if pattern else None
        if name is not None:
            return f"v{name.decode()}"
        number = self.forms.setdefault(term.form, len(self.forms))
        return f"(N{len(term.parts)} {' '.join([str(number), *(self.text(p, pattern) for p in term.parts)])})"

    def note(self, term: Term, number: int, pattern: bool) -> str:
        """The statement that the rule of this number wrote the term; 0 for parts of the given term."""
        return f"(set (by{self.text(term, pattern)[2:-1]}) {number})"

    def variants(self, term: Term, limit: int) -> list[Derived]:
        """Up to `limit` terms equal to the given one, fewest rules first."""
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
        """Rules, one per part, that lead from a term to another whose parts the graph all had before."""
        for rewrite in self.rewrites:
            found: dict[bytes, Term] = {}
            if match(rewrite.left, term, found) and filled(rewrite.right, found) == other:
                return (rewrite.rule.name,)
        if term.form != other.form:
            return ()
        changed = [self.step(one, new) for one, new in zip(term.parts, other.parts) if one != new]
        return tuple(sorted({rule for rules in changed for rule in rules})) if all(changed) else ()


def filled(pattern: Term, terms: Mapping[bytes, Term]) -> Term:
    """A pattern with terms in place of its letters."""
    name = letter(pattern)
    return Term(pattern.form, tuple(filled(part, terms) for part in pattern.parts)) if name is None else terms[name]


def usable(rewrite: Rewrite) -> bool:
    """Return whether a rewrite may be used without its `where`.

    False for rules with blocks, and where the matched side does not show a type that the rule demands.
    """
    rule = rewrite.rule
    unseen = rule.name.endswith("back") and any(word in rule.where for word in ("sized", "list", "str", "sequence"))
    return "\n" not in rule.left + rule.right and not unseen and letter(inner(rewrite.left)) is None


@dataclass(frozen=True, slots=True)
class Tree:
    """A term of the e-graph: the numbers of its form and rule; `cost` counts parts that rules wrote."""

    form: int
    rule: int
    parts: tuple["Tree", ...]
    cost: float

    def rules(self) -> Iterator[int]:
        yield self.rule
        for part in self.parts:
            yield from part.rules()


def cheapest(nodes: Mapping[str, Any], root: str) -> list[Tree]:
    """The cheapest terms of class `root`, up to `LEVELS` high, built bottom-up for all classes."""
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
