"""Operator precedence of Python: how tightly expressions bind, and how tightly their places must be bound.

Levels are the rows of "Operator precedence" in the Python language reference, loosest first.
"""

from kelp.syntax.program import Program

BINARY = {
    b"or": 3, b"and": 4, b"|": 7, b"^": 8, b"&": 9, b"<<": 10, b">>": 10, b"+": 11, b"-": 11, b"*": 12, b"/": 12,
    b"//": 12, b"%": 12, b"@": 12, b"**": 14,
}  # fmt: skip
CHOICE, NOT, COMPARISON, SIGN, AWAIT, PRIMARY = 2, 5, 6, 13, 15, 16
LEVELS = {
    "named_expression": 0, "yield": 0, "expression_list": 0, "generator_expression": 0, "as_pattern": 0,
    "list_splat": 0, "dictionary_splat": 0, "slice": 0, "keyword_argument": 0, "lambda": 1,
    "conditional_expression": CHOICE, "boolean_operator": BINARY[b"or"], "not_operator": NOT,
    "comparison_operator": COMPARISON, "unary_operator": SIGN, "await": AWAIT,
    "integer": AWAIT, "float": AWAIT,  # `1.real` is no attribute
}  # fmt: skip
DEMANDS = {
    "for_in_clause": CHOICE + 1, "if_clause": CHOICE + 1, "not_operator": NOT, "comparison_operator": COMPARISON + 1,
    "unary_operator": SIGN, "await": PRIMARY, "list_splat": BINARY[b"|"], "dictionary_splat": BINARY[b"|"],
    "named_expression": CHOICE,
}  # fmt: skip
POSTFIX = frozenset([("attribute", "object"), ("call", "function"), ("subscript", "value")])  # (parent kind, field)


def strength(program: Program, node: int) -> int:
    """Level at which the expression binds."""
    kind = program.kind[node]
    if kind in ("binary_operator", "boolean_operator"):
        return _operator_level(program, node)
    return LEVELS.get(kind, PRIMARY)


def demand(program: Program, node: int) -> int:
    """Lowest level of an expression that goes in the node's place without parentheses."""
    parent, field = program.parent[node], program.field[node]
    kind = program.kind[parent]
    if (kind, field) in POSTFIX:
        return PRIMARY
    if kind == "binary_operator":
        level = _operator_level(program, parent)
        return level + ((field == "right") != (level == BINARY[b"**"]))  # ** groups from the right
    if kind == "boolean_operator":
        return _operator_level(program, parent) + (field == "right")
    if kind == "conditional_expression":
        return CHOICE if program.last[node] == program.last[parent] else CHOICE + 1
    return DEMANDS.get(kind, 1)


def _operator_level(program: Program, node: int) -> int:
    operator = program.last[node + 1]  # after the left operand
    while program.kind[operator] in ("comment", "line_continuation"):
        operator += 1
    return BINARY.get(program.text(operator), 0)
