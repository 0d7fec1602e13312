"""JSON as a `Language`: all that a second language needs to be mutated, diffed and encoded."""

import re

import tree_sitter
import tree_sitter_json

from kelp.syntax.program import Language, ListRule, NearMiss, Program

OPENING, CLOSING = frozenset([b"{", b"["]), frozenset([b"}", b"]"])
CONSTANTS = [b"true", b"false", b"null"]


def category(kind: str, field: str | None, parent: str, named: bool) -> str | None:
    if not named or kind == "comment" or parent == "string":
        return None
    if kind == "pair" or field == "key":
        return "pair" if kind == "pair" else "name"
    return "element" if parent == "array" else "expression"


def default_gap(before: bytes, left: bytes, right: bytes, inside: bool) -> bytes:
    return b" " if left in (b",", b":") else b""


def literals(program: Program, node: int) -> list[bytes]:
    text = program.text(node)
    if text in CONSTANTS:
        return [other for other in CONSTANTS if other != text]
    return [b"%d" % (int(text) + step) for step in (-1, 1)] if re.fullmatch(rb"-?[0-9]+", text) else []


JSON = Language(
    name="json",
    suffixes=(".json",),
    parser=tree_sitter.Parser(tree_sitter.Language(tree_sitter_json.language())),
    categories=("name", "expression", "element", "elements", "pair", "pairs"),
    category=category,
    lists={"array": ListRule("element", "elements"), "object": ListRule("pair", "pairs")},
    lexer=re.compile(rb'\s+|"(?:[^"\\\n]|\\.)*"|//[^\n]*|-?[0-9][0-9.eE+-]*|[a-z]+|[\s\S]'),
    default_gap=default_gap,
    opening=OPENING,
    closing=CLOSING,
    near_miss=NearMiss(
        roles={
            "literal": frozenset({"number", "true", "false", "null"}),
            "string": frozenset({"string"}),
            "sequence": frozenset({"array", "object"}),
        },
        literals=literals,
    ),
    atoms=frozenset({"string"}),
    comments=frozenset({"comment"}),
)
