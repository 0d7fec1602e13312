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


@dataclass(frozen=True)
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
    category: Callable[[str, str | None, str, bool], str | None]
    lists: Mapping[str, ListRule]
    conditions: frozenset[tuple[str, str]]  # (parent kind, field) of operands that take further conditions
    optional: frozenset[str]
    may_drop: Callable[["Program", int], bool]
    compiles: Callable[[bytes], bool]  # the language's own last word on a whole program
    lexer: re.Pattern[bytes]  # splits any text into pieces; every node begins and ends at a piece
    default_gap: Callable[[bytes, bytes, bytes, bool], bytes]  # usual space between two pieces, see python.py
    fits: Callable[[str, bytes, bool], bool]  # may this piece (first?) stand in a text of this category
