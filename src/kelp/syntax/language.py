"""What Kelp needs to know of a programming language. A second language is a second one of these."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tree_sitter import Parser

if TYPE_CHECKING:
    from kelp.syntax.program import Program


@dataclass(frozen=True)
class ListRule:
    """A node kind whose children are a list that elements may be put into and taken from."""

    element: str  # category of an element
    plural: str  # category of two adjacent elements, replaced together
    smallest: int = 0  # deleting must leave at least this many elements


Families = tuple[frozenset[bytes], ...]


@dataclass(frozen=True)
class Binding:
    """A name that a node gives a meaning to, and the nodes (`first` <= node < `stop`) from which it is seen."""

    name: bytes
    node: int
    first: int
    stop: int


@dataclass(frozen=True)
class NearMiss:
    """What programmers of a language take for something else. A family is a set of texts that stand in for each
    other; `roles` names the node kinds that play a part ("call", "return", ...), a missing role being an empty one.
    """

    roles: Mapping[str, frozenset[str]]
    inert: Callable[["Program", int], bool]  # is this subtree no code (documentation, types): left alone
    operators: Mapping[str, Families]  # by operator category
    names: Families  # functions, methods and attributes
    statements: Families
    values: Families  # what variables start from
    arguments: Mapping[bytes, tuple[tuple[bool, bytes], ...]]  # callee -> (goes first?, argument) often added
    numeric: frozenset[bytes]  # callees whose result is a number
    truth: re.Pattern[bytes]  # callees whose result is a truth value
    receivers: frozenset[bytes]  # names never taken for another (self)
    literals: Callable[["Program", int], list[bytes]]  # near values of a literal
    strings: Callable[[bytes], list[bytes]]  # near values of a short string, none where it is not one
    bindings: Callable[["Program"], list[Binding]]
    strength: Callable[["Program", int], int]  # how tightly an expression binds, and how tightly what stands
    demand: Callable[["Program", int], int]  # in this place must, else it needs parentheses
    negation: tuple[bytes, int]  # prefix, and how tightly its operand must bind
    sign: tuple[bytes, int]
    sum: int  # how tightly the operands of + and - must bind
    give: bytes  # what begins a return statement
    nothing: bytes  # the statement that does nothing
    absent: tuple[bytes, ...]  # arguments that say "none"
    leave: bytes  # the statement that leaves a loop
    otherwise: bytes  # what begins an else clause
    chained: tuple[bytes, bytes]  # what begins a further condition, and a condition of its own


@dataclass(frozen=True, eq=False)
class Language:
    """One language. Node kinds and fields are those of its tree-sitter grammar.

    `category(kind, field, parent_kind, named)` names what may stand in a node's place, or None where
    nothing may be put. `optional` are node kinds that may be taken out of or added to a parent that is no
    list (else clauses, extra conditions of a comprehension); `may_drop` judges a single one of them.
    """

    name: str
    parser: Parser
    root_kinds: frozenset[str]  # the node a program consists of: never mutated as a whole
    atoms: frozenset[str]  # kinds whose inside is not edited (strings)
    comments: frozenset[str]
    categories: tuple[str, ...]  # all that `category` and `lists` may name
    category: Callable[[str, str | None, str, bool], str | None]
    lists: Mapping[str, ListRule]
    conditions: frozenset[tuple[str, str]]  # (parent kind, field) of operands that take further conditions
    results: frozenset[tuple[str, str | None]]  # the same of values that are often, but not always, conditions
    optional: frozenset[str]
    may_drop: Callable[["Program", int], bool]
    docstring: Callable[["Program"], tuple[int, int] | None]  # its span, where the program has one
    compiles: Callable[[bytes], bool]  # the language's own last word on a whole program
    free_names: Callable[[bytes], frozenset[str]]  # that a program reads and neither it nor the language defines
    oddities: Callable[[bytes], int]  # how much there is in a program that finished ones seldom have
    bound_names: Callable[[bytes], frozenset[str] | None]  # that a file defines for its functions; None: who knows
    lexer: re.Pattern[bytes]  # splits any text into pieces; every node begins and ends at a piece
    default_gap: Callable[[bytes, bytes, bytes, bool], bytes]  # usual space between two pieces, see python.py
    fits: Callable[[str, bytes, str], bool]  # may these bytes stand in a text of this category, see python.py
    near_miss: NearMiss
    free: frozenset[str] = frozenset()  # categories for which `fits` is always true: their masks need no call of it
