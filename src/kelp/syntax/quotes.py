"""Quotes of the text that a model writes: those of the program, so that a patch changes nothing else."""

import re
from dataclasses import replace

from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

LITERAL = re.compile(rb"""([A-Za-z]*)(?:'([^'"\\\n]*)'|"([^'"\\\n]*)")""")  # the same text may stand in either quotes


def with_quotes_of(program: Program, edit: Edit) -> Edit:
    """Return the edit with the quotes of the program's strings.

    A string that stands in the program is written as it stands there; another one takes the quotes that most of the
    program's strings have. Strings that hold a quote or a backslash are left alone.
    """
    if b"'" not in edit.text and b'"' not in edit.text:
        return edit
    atoms = [node for node, kind in enumerate(program.kind) if kind in program.language.atoms]
    there = {program.text(node) for node in atoms}
    quotes = [match[0][-1:] for text in map(program.text, atoms) if (match := LITERAL.fullmatch(text))]

    def written(piece: re.Match[bytes]) -> bytes:
        literal = LITERAL.fullmatch(piece[0])
        if literal is None or piece[0] in there or not quotes:
            return piece[0]
        inside = literal[2] if literal[2] is not None else literal[3]
        double, single = (literal[1] + quote + inside + quote for quote in (b'"', b"'"))
        if double in there or single in there:
            return double if double in there else single
        return double if quotes.count(b'"') > len(quotes) / 2 else single

    return replace(edit, text=program.language.lexer.sub(written, edit.text))
