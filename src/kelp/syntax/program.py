"""A program as a tree, and the language that it is in.

A program is the source of one function with its syntax tree in flat preorder arrays. A second language is a second
`Language`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tree_sitter import Parser, Tree


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
    suffixes: tuple[str, ...]  # of its files, with the dot
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
    lint: Callable[[bytes], int]  # number of findings: what finished programs seldom have
    bound_names: Callable[[bytes], frozenset[str] | None]  # that a file defines for its functions; None: who knows
    lexer: re.Pattern[bytes]  # splits any text into pieces; every node begins and ends at a piece
    opening: frozenset[bytes]  # brackets
    closing: frozenset[bytes]
    default_gap: Callable[[bytes, bytes, bytes, bool], bytes]  # usual space between two pieces, see python.py
    fits: Callable[[str, bytes, str], bool]  # may these bytes stand in a text of this category, see python.py
    near_miss: NearMiss


@dataclass(frozen=True, eq=False)
class Program:
    """Source and tree. All lists have one entry for each tree node, in preorder; offsets are bytes.

    Node 0 is the grammar's top node. Inside atoms (strings) there are no nodes.
    """

    source: bytes
    language: Language
    kind: list[str]
    field: list[str | None]
    named: list[bool]
    start: list[int]
    end: list[int]
    parent: list[int]  # -1 for node 0
    last: list[int]  # one past the last node of the subtree

    def text(self, node: int) -> bytes:
        return self.source[self.start[node] : self.end[node]]

    def children(self, node: int) -> list[int]:
        found, child, stop = [], node + 1, self.last[node]
        while child < stop:
            found.append(child)
            child = self.last[child]
        return found

    def is_leaf(self, node: int) -> bool:
        return self.last[node] == node + 1

    @cached_property
    def root(self) -> int:
        """The node of the function itself (its decorated definition where it has decorators)."""
        for node in self.children(0):
            if self.kind[node] in self.language.root_kinds:
                return node
        return 0

    @cached_property
    def leaf_count(self) -> list[int]:
        """`leaf_count[i]`: leaves among nodes 0..i-1, so that a subtree's size is one subtraction."""
        counts = [0]
        for node in range(len(self.kind)):
            counts.append(counts[-1] + (self.last[node] == node + 1))
        return counts

    @cached_property
    def leaf_starts(self) -> list[int]:
        """Where each leaf begins, in order (leaves without text left out)."""
        return [s for n, s in enumerate(self.start) if self.last[n] == n + 1 and self.end[n] > s]

    @cached_property
    def leaf_texts(self) -> Counter[bytes]:
        return Counter(self.text(n) for n in range(len(self.kind)) if self.is_leaf(n))

    def size(self, node: int) -> int:
        """Number of leaves (lexical tokens) of a subtree."""
        return self.leaf_count[self.last[node]] - self.leaf_count[node]


def parse(source: bytes, language: Language) -> Program:
    """Parse one program. Raises SyntaxError where the grammar finds an error."""
    tree = tree_of(source, language)
    if tree.root_node.has_error:
        raise SyntaxError(f"not valid {language.name}")
    atoms = language.atoms
    kind: list[str] = []
    field: list[str | None] = []
    named: list[bool] = []
    start: list[int] = []
    end: list[int] = []
    parent: list[int] = []
    last: list[int] = []
    cursor = tree.walk()
    above = -1
    while True:
        node = cursor.node
        assert node is not None
        here, node_kind = len(kind), node.type
        kind.append(node_kind)
        field.append(cursor.field_name)
        named.append(node.is_named)
        start.append(node.start_byte)
        end.append(node.end_byte)
        parent.append(above)
        last.append(here + 1)
        if node_kind not in atoms and cursor.goto_first_child():
            above = here
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return Program(source, language, kind, field, named, start, end, parent, last)
            last[above] = len(kind)
            above = parent[above]


@lru_cache(maxsize=16)
def tree_of(source: bytes, language: Language) -> Tree:
    """The grammar's tree, errors and all; kept, since what has been found valid is mostly walked next."""
    return language.parser.parse(source)


def parses(source: bytes, language: Language) -> bool:
    """Does the grammar accept it, and the language's own check?"""
    return not tree_of(source, language).root_node.has_error and language.compiles(source)
