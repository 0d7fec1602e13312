"""Rewriting of clean programs: one expression or statement is replaced by an equal one, the rest byte for byte.

Rules are Python's (`languages.python.rewrite_rules`): a program of another language has no rewrites.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kelp.diffusion.rewriting.infer_types import PREDICATES, bound, type_of
from kelp.diffusion.rewriting.terms import LANGUAGE, TRUTH, Form, Term, bare, read
from kelp.diffusion.tree_queries import editable, indentation
from kelp.languages.python.rewrite_rules import EQUAL, Rule, directed
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, parse
from kelp.syntax.sites import is_valid

LETTER = re.compile(rb"[a-zA-Z]")
WORD = re.compile(rb"[a-z]{2,}")
WORD_END = re.compile(rb"[\w\x80-\xff]")
INDENT = b"    "  # of blocks in rules
ALIKE = frozenset({"int", "str", "list", "tuple"})  # types with associative +
Bound = Mapping[bytes, int]  # letter of a rule -> node of the program that it stands for


@dataclass(frozen=True)
class Rewrite:
    """A rule in one direction, as terms: `left` is matched, and `right` written in its place."""

    rule: Rule
    left: Term
    right: Term
    program: Program  # source of `right`
    place: int  # node of `right` in it
    builtins: frozenset[bytes]  # names that must not be rebound

    @property
    def where(self) -> list[tuple[str, list[bytes]]]:
        """The clauses of the rule: a predicate and its letters."""
        clauses = [clause.split() for clause in self.rule.where.split(";") if clause]
        return [(predicate, [name.encode() for name in names]) for predicate, *names in clauses]


def compiled(rules: tuple[Rule, ...]) -> tuple[Rewrite, ...]:
    """The rules in every direction in which the matched side has all letters of the written one."""
    rewrites = []
    for rule in directed(rules):
        for tested in (False, True) if is_expression(rule.left) and is_expression(rule.right) else (False,):
            left, right = (pattern(text, tested) for text in (rule.left, rule.right))
            if (rule.truth and not tested) or not letters(right[2]) <= letters(left[2]):
                continue
            if tested and not rule.truth and not {b"and", b"or"} & {*inner(left[2]).form, *inner(right[2]).form}:
                continue  # the plain rule applies inside the condition too
            words = {t for term in (left[2], right[2]) for t in leaves(term) if WORD.fullmatch(t)}
            rewrites.append(Rewrite(rule, left[2], right[2], right[0], right[1], frozenset(words)))
    return tuple(rewrites)


def pattern(text: str, tested: bool) -> tuple[Program, int, Term]:
    """Parse one side of a rule: program, node and term. `tested`: in a place where only truth counts."""
    program = parse((b"assert " if tested else b"") + text.encode(), LANGUAGE)
    node = bare(program, 3 if tested else 2 if is_expression(text) else 1)  # inside the statement
    term = read(program, node)
    assert term is not None
    return program, node, term


def is_expression(text: str) -> bool:
    program = parse(text.encode(), LANGUAGE)
    return program.kind[1] == "expression_statement" and program.kind[2] not in ("assignment", "augmented_assignment")


def inner(term: Term) -> Term:
    """The term without the mark that only its truth counts."""
    return term.parts[0] if term.form == TRUTH else term


def letter(term: Term) -> bytes | None:
    """The letter that a term of a rule is; None where it is something else."""
    text = term.form[0]
    return text if text is not None and not term.parts and LETTER.fullmatch(text) else None


def leaves(term: Term) -> Iterator[bytes]:
    """Names and literals of a term."""
    for part in term.walk():
        if len(part.form) == 1 and part.form[0] is not None:
            yield part.form[0]


def letters(term: Term) -> set[bytes]:
    return {text for text in leaves(term) if LETTER.fullmatch(text)}


@lru_cache(maxsize=4)
def by_form(rules: tuple[Rule, ...]) -> dict[Form, list[Rewrite]]:
    """Rewrites by the form of their left side; those that match any form under ()."""
    by_first_form: dict[Form, list[Rewrite]] = defaultdict(list)
    for rewrite in compiled(rules):
        top = inner(rewrite.left)
        by_first_form[() if letter(top) else top.form].append(rewrite)
    return by_first_form


def match(rule: Term, term: Term, matches: dict[bytes, Term]) -> bool:
    """Return whether a term of a rule matches the term. The terms that its letters match are added to `matches`."""
    if (name := letter(rule)) is not None:
        return matches.setdefault(name, term) == term
    return rule.form == term.form and all(match(*pair, matches) for pair in zip(rule.parts, term.parts))


@lru_cache(maxsize=16)
def rewrites(program: Program, rules: tuple[Rule, ...] = EQUAL) -> tuple[tuple[Rule, Edit], ...]:
    """Every (rule, edit) that applies to the program: the source proves the rule's `where`, the result is valid."""
    if program.language is not LANGUAGE:
        return ()
    known, found = by_form(rules), []
    for place in sorted({node for some in editable(program).values() for node in some if program.named[node]}):
        if program.kind[program.parent[place]] == "parenthesized_expression" or place <= program.root:
            continue
        term = read(program, place)
        if term is None:
            continue
        for rewrite in (*known.get(inner(term).form, ()), *known.get((), ())):
            edit = applied(program, place, term, rewrite)
            if edit is not None and is_valid(program, edit):
                found.append((rewrite.rule, edit))
    return tuple(dict.fromkeys(found))


def rewrite(program: Program, rng: random.Random) -> Program | None:
    """Rewrite one random part of the program; None where no rule applies.

    The rule is drawn first, so that rules that apply in many places are not drawn more often.
    """
    by_rule: dict[str, list[Edit]] = defaultdict(list)
    for rule, edit in rewrites(program):
        by_rule[rule.name].append(edit)
    if not by_rule:
        return None
    edit = rng.choice(by_rule[rng.choice(list(by_rule))])
    return parse(edit.apply(program.source), program.language)


def applied(program: Program, place: int, term: Term, rewrite: Rewrite) -> Edit | None:
    """The edit that replaces a place by the right side of a rule; None where the rule does not hold there."""
    matches: dict[bytes, Term] = {}
    if not match(rewrite.left, term if rewrite.left.form == TRUTH else inner(term), matches):
        return None
    nodes = {name: inner(part).node for name, part in matches.items()}
    if not holds(program, nodes, matches, rewrite):
        return None
    text = written(program, place, nodes, rewrite)
    if text is None:
        return None
    near, start, end = program.language.near_miss, program.start[place], program.end[place]
    if near.strength(rewrite.program, rewrite.place) < near.demand(program, place):
        text = b"(" + text + b")"
    # Parentheses of the place are replaced with it: the text must not run into a word beside them.
    before = b" " if WORD_END.match(program.source[start - 1 : start]) and WORD_END.match(text[:1]) else b""
    after = b" " if WORD_END.match(program.source[end : end + 1]) and WORD_END.match(text[-1:]) else b""
    return Edit(start, end, before + text + after)


def holds(program: Program, nodes: Bound, terms: Mapping[bytes, Term], rewrite: Rewrite) -> bool:
    """Return whether the source proves the conditions that the rule sets for its letters."""
    if any(bound(program, name) for name in rewrite.builtins):
        return False
    for predicate, asked in rewrite.where:
        if predicate == "apart":  # the first letter, a variable, does not occur in the second
            if not set(leaves(terms[asked[0]])).isdisjoint(leaves(terms[asked[1]])):
                return False
        elif predicate == "alike":
            types = {type_of(program, nodes[name]) for name in asked}
            if len(types) != 1 or not types <= ALIKE:
                return False
        else:
            test = PREDICATES[predicate]
            if not all(any(test(program, nodes[one.encode()]) for one in some.decode().split("|")) for some in asked):
                return False
    return True


def written(program: Program, place: int, nodes: Bound, rewrite: Rewrite) -> bytes | None:
    """The text of the right side with the program's text for its letters; None where it does not fit its lines."""
    right, near = rewrite.program, program.language.near_miss
    indent = indentation(program, place)
    rest = program.source[program.end[place] :].partition(b"\n")[0].strip()
    if b"\n" in right.text(rewrite.place) and (indent is None or rest[:1] not in (b"", b"#")):
        return None  # a block needs lines of its own
    pieces, at = [], right.start[rewrite.place]
    for node in range(rewrite.place, right.last[rewrite.place]):
        name = right.text(node)
        if not right.is_leaf(node) or name not in nodes:
            continue
        replacement = nodes[name]
        text = program.text(replacement)
        if name.isupper():  # a block keeps its column
            if indent is None or indentation(program, replacement) != indent + INDENT:
                return None
        elif b"\n" in text:
            return None
        elif near.strength(program, replacement) < near.demand(right, node):
            text = b"(" + text + b")"
        pieces += [right.source[at : right.start[node]].replace(b"\n", b"\n" + (indent or b"")), text]
        at = right.end[node]
    return b"".join([*pieces, right.source[at : right.end[rewrite.place]]])
