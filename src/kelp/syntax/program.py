"""A program as a syntax tree in flat preorder arrays, and the record of the language it is written in."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from tree_sitter import Parser, Tree

Families = tuple[frozenset[bytes], ...]  # sets of texts that people mistake for one another
Wanted = tuple[str, Any]  # the arguments of a call as source, and the value that a test expects of it
NEVER = re.compile(rb"(?!)")


@dataclass(frozen=True)
class ListRule:
    """A node kind whose children are a list: elements may be inserted and deleted."""

    element: str  # category of an element
    plural: str  # category of two adjacent elements that are replaced together
    smallest: int = 0  # number of elements that must remain


@dataclass(frozen=True)
class Binding:
    """A name that `node` binds, and the range of nodes (`first` <= n < `stop`) from which it is visible."""

    name: bytes
    node: int
    first: int
    stop: int


@dataclass(frozen=True)
class Templates:
    """The pieces that people forget around an expression or a statement, for the mutations of `diffusion`."""

    wrappers: tuple[bytes, ...] = ()  # callees that convert a value
    methods: tuple[bytes, ...] = ()  # methods without arguments that give another value
    iterated: tuple[bytes, ...] = ()  # the same, of what a loop goes over
    lookups: tuple[tuple[bytes, bytes], ...] = ()  # text before and after the key, in place of the brackets
    items: tuple[bytes, ...] = ()  # subscripts
    suspends: tuple[bytes, re.Pattern[bytes], int] = (b"", NEVER, 0)  # prefix, programs that may have it, its strength
    keywords: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)  # by callee
    presence: tuple[bytes, ...] = ()  # text behind a name: it is missing, it is there
    contains: tuple[bytes, ...] = ()  # between key and collection: it is in it, it is not
    ends: tuple[bytes, ...] = ()  # between an index and a sequence: it is past the end (the parenthesis is closed)
    comparison: int = 0  # strength of a comparison
    choice: bytes = b""  # a conditional expression, with VALUE, ASK and ELSE for its parts
    choice_strength: int = 0
    guard: bytes = b""  # an if statement, with ASK, JUMP and INDENT for its parts
    skips: tuple[bytes, ...] = ()  # statements that leave a loop or its round
    defaults: tuple[bytes, ...] = ()  # values that stand for "none"
    otherwise: tuple[bytes, int] = (b"", 0)  # operator between a value and its default, and its strength
    choosers: tuple[bytes, ...] = ()  # callees that choose one of two values
    collects: tuple[bytes, ...] = ()  # methods that add one value
    produces: Families = ()  # beginnings of statements that give a value
    catches: tuple[bytes, ...] = ()  # exceptions that are caught too narrowly or too broadly
    embedded: Callable[[bytes], list[tuple[int, int]]] = lambda text: []  # spans of the expressions within a string
    formats: Callable[[bytes, bytes], Iterable[bytes]] = lambda text, after: ()  # a string and what comes behind it
    patterns: Callable[[bytes], Iterable[bytes]] = lambda text: ()
    after: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # exception -> kind -> factor of its share


@dataclass(frozen=True)
class NearMiss:
    """The mistakes that programmers of a language make, as tables for `diffusion.mutations`.

    `roles` names the node kinds that play a part ("call", "return", ...); a mutation that asks for a role without
    kinds proposes nothing. `strength` and `demand` are levels of operator precedence: an expression goes without
    parentheses where its strength is at least the demand of its place.
    """

    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    inert: Callable[["Program", int], bool] = lambda program, node: False  # documentation or types: never mutated
    operators: Mapping[str, Families] = field(default_factory=dict)  # by operator category
    names: Families = ()  # functions, methods and attributes
    statements: Families = ()
    values: Families = ()  # initial values of variables
    # By callee: arguments that are often added, as (goes first?, argument).
    arguments: Mapping[bytes, tuple[tuple[bool, bytes], ...]] = field(default_factory=dict)
    numeric: frozenset[bytes] = frozenset()  # callees whose result is a number
    truth: re.Pattern[bytes] = NEVER  # callees whose result is a truth value
    receivers: frozenset[bytes] = frozenset()  # names that no mutation replaces or inserts (self)
    literals: Callable[["Program", int], list[bytes]] = lambda program, node: []  # near values of a literal
    strings: Callable[[bytes], list[bytes]] = lambda text: []  # near values of a short string
    bindings: Callable[["Program"], list[Binding]] = lambda program: []
    strength: Callable[["Program", int], int] = lambda program, node: 0
    demand: Callable[["Program", int], int] = lambda program, node: 0
    literal: int = 0  # strength of a literal
    negation: tuple[bytes, int] = (b"", 0)  # prefix, and its demand of the operand
    sign: tuple[bytes, int] = (b"", 0)
    sum: int = 0  # demand of + and - of their operands
    give: bytes = b""  # beginning of a return statement
    nothing: bytes = b""  # statement without effect
    absent: tuple[bytes, ...] = ()  # arguments that mean "none"
    leave: bytes = b""  # statement that leaves a loop
    otherwise: bytes = b""  # beginning of an else clause
    chained: tuple[bytes, bytes] = (b"", b"")  # beginning of a further branch (elif), and of a first one (if)
    templates: Templates = Templates()
    fixed: re.Pattern[bytes] = NEVER  # text that forbids a new indentation of its lines (multi-line strings)


@dataclass(frozen=True)
class SpecReader:
    """Readers of a language's tests and documentation, for what a function should do. The defaults find nothing.

    `asserts_about(source of a test file, function)` returns its asserts that call the function, one line each.
    `wanted(asserts, function)` returns the calls for which they expect a literal value. Value-guided synthesis starts
    from these, so a language without `wanted` has none.
    """

    asserts_about: Callable[[str, str], tuple[str, ...]] = lambda source, function: ()
    examples: Callable[[str], tuple[str, ...]] = lambda docstring: ()  # of a docstring, as asserts
    intent: Callable[[str], str] = lambda docstring: ""  # first sentence of a docstring
    wanted: Callable[[Sequence[str], str], list[Wanted]] = lambda asserts, function: []
    # (asserts, function, rng, count): the arguments of up to `count` calls like those in the asserts
    arguments_like: Callable[[Sequence[str], str, random.Random, int], list[str]] = lambda *_: []


@dataclass(frozen=True, eq=False)
class Language:
    """A programming language. Node kinds and fields are those of its tree-sitter grammar.

    `category(kind, field, parent kind, named)` is the category of text that may replace a node, None where nothing
    may. `optional` are node kinds that may be deleted from or inserted into a parent that is no list (else clauses,
    conditions of a comprehension); `may_drop` decides for one node. `default_gap(piece before left, left, right,
    inside brackets?)` is the usual space between two pieces of the lexer. `fits(category, text, place)` says whether
    these bytes may stand at the place ("first", "next", "inside") of a text of the category. The fields with a
    default are optional: without them the language is parsed, mutated, diffed and encoded all the same.
    """

    name: str
    suffixes: tuple[str, ...]  # of its files, with the dot
    parser: Parser
    categories: tuple[str, ...]  # every value of `category` and of `lists`
    category: Callable[[str, str | None, str, bool], str | None]
    lists: Mapping[str, ListRule]
    lexer: re.Pattern[bytes]  # splits any text into pieces; every node begins and ends at a piece
    default_gap: Callable[[bytes, bytes, bytes, bool], bytes]
    opening: frozenset[bytes]  # brackets
    closing: frozenset[bytes]
    near_miss: NearMiss = NearMiss()
    free: frozenset[str] = frozenset()  # categories for which `fits` is always true: their masks need no call of it
    specs: SpecReader = SpecReader()
    functions: frozenset[str] = frozenset()  # kinds of function definitions; the field "name" holds their name
    classes: frozenset[str] = frozenset()  # kinds whose name qualifies the functions inside
    wrappers: frozenset[str] = frozenset()  # kinds around a definition (decorators)
    atoms: frozenset[str] = frozenset()  # kinds whose inside is not edited (strings)
    comments: frozenset[str] = frozenset()
    conditions: frozenset[tuple[str, str]] = frozenset()  # (parent kind, field) of operands that take more conditions
    results: frozenset[tuple[str, str | None]] = frozenset()  # the same, for values that are often conditions
    optional: frozenset[str] = frozenset()
    may_drop: Callable[["Program", int], bool] = lambda program, node: True
    fits: Callable[[str, bytes, str], bool] = lambda category, text, place: True
    compiles: Callable[[bytes], bool] = lambda source: True  # a further check of a program that the grammar accepts
    docstring: Callable[["Program"], tuple[int, int] | None] = lambda program: None  # its byte span
    # Names that a program reads and neither it nor the language defines.
    free_names: Callable[[bytes], frozenset[str]] = lambda source: frozenset()
    # Names that a file defines for its functions; None where that cannot be known.
    bound_names: Callable[[bytes], frozenset[str] | None] = lambda source: None
    lint: Callable[[bytes], int] = lambda source: 0  # number of patterns that finished programs seldom have
    # A file with probes for edits of its functions, each with its own; None where no edit can be probed.
    probed: Callable[[bytes, Sequence[Any], Sequence[Iterable[Any]]], Any] = lambda file, functions, edits: None

    @cached_property
    def root_kinds(self) -> frozenset[str]:
        """Kinds of the one node that a program consists of, which is never mutated as a whole."""
        return self.functions | self.classes | self.wrappers


@dataclass(frozen=True, eq=False)
class Program:
    """Source and tree. Every list has one entry per tree node, in preorder; offsets are bytes.

    Node 0 is the grammar's top node. Atoms (strings) have no nodes inside.
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
        return list(self.each_child(node))

    def each_child(self, node: int) -> Iterator[int]:
        child, stop = node + 1, self.last[node]
        while child < stop:
            yield child
            child = self.last[child]

    def is_leaf(self, node: int) -> bool:
        return self.last[node] == node + 1

    @cached_property
    def root(self) -> int:
        """Node of the definition itself, with its decorators; 0 where there is no definition."""
        for node in self.children(0):
            if self.kind[node] in self.language.root_kinds:
                return node
        return 0

    @cached_property
    def leaf_count(self) -> list[int]:
        """`leaf_count[i]`: number of leaves among nodes 0 to i-1, so that a subtree's size is one subtraction."""
        counts = [0]
        for node in range(len(self.kind)):
            counts.append(counts[-1] + (self.last[node] == node + 1))
        return counts

    @cached_property
    def leaf_starts(self) -> list[int]:
        """Start of each leaf that has text, in order."""
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
    """The tree-sitter tree, errors included. Cached, since a source found valid is usually walked next."""
    return language.parser.parse(source)


def parses(source: bytes, language: Language) -> bool:
    """Return whether the grammar and the language's own check accept the source."""
    return not tree_of(source, language).root_node.has_error and language.compiles(source)
