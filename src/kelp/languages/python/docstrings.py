"""Docstrings of Python functions: where one stands, its first sentence, and its examples."""

import ast
import doctest
import re
import textwrap

from kelp.syntax.program import Program

LONGEST_INTENT = 200  # characters


def docstring(program: Program) -> tuple[int, int] | None:
    """Byte span of the function's docstring (a plain string; not one of an inner function)."""
    kind, node = program.kind, program.root
    if kind[node] == "decorated_definition":
        node = program.children(node)[-1]
    block = next((c for c in program.children(node) if program.field[c] == "body"), None)
    if block is None:
        return None
    first = next((c for c in program.children(block) if kind[c] != "comment"), None)
    if first is None or kind[first] != "expression_statement" or kind[first + 1] != "string":
        return None
    return program.start[first + 1], program.end[first + 1]


def first_sentence(docstring: str) -> str:
    """The first sentence of the first paragraph, on one line, cut at a word when it is long."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip())[0].split())
    sentence = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!cf\.)(?<!vs\.)\s+(?=[A-Z`*'\"(])", paragraph)[0]
    if sentence.startswith((">>>", "..", ":")):
        return ""
    if len(sentence) > LONGEST_INTENT:
        return textwrap.shorten(sentence, LONGEST_INTENT, placeholder=" ...")
    return sentence


def doctest_asserts(docstring: str) -> tuple[str, ...]:
    """The one-line examples of a docstring as asserts."""
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:  # malformed: the run of the tests reports it
        return ()
    lines = []
    for example in examples:
        line = f"assert {example.source.strip()} == {example.want.strip()}"
        try:
            statements = ast.parse(line).body
        except SyntaxError:
            continue
        if example.want.strip() and "\n" not in line and len(statements) == 1:
            lines.append(line)
    return tuple(lines)
