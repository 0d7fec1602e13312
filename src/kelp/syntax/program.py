"""A program as a tree: the source of one function and its syntax tree in flat preorder arrays."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tree_sitter import Tree

from kelp.languages.python.grammar import PYTHON
from kelp.syntax.language import Language


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


def parse(source: bytes, language: Language = PYTHON) -> Program:
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


def parses(source: bytes, language: Language = PYTHON) -> bool:
    """Does the grammar accept it, and the language's own check?"""
    return not tree_of(source, language).root_node.has_error and language.compiles(source)
