"""The functions of a file, each as a program of its own, and the way of an edit back into the file."""

import re
from dataclasses import dataclass
from functools import cached_property

from kelp.syntax.edits import Edit
from kelp.syntax.language import Language
from kelp.syntax.program import Program, parse
from kelp.syntax.python import PYTHON

TAB = b" " * 4  # what a tab of indentation is shown as


@dataclass(frozen=True, eq=False)
class Function:
    """One function (or method) of a file: a window through which it is edited as a program of its own.

    `source` is what is edited: dedented, with "\\n" line ends and spaces for indentation. The file may
    have a margin, tabs and CRLF; `to_file` puts an edit of `source` into those terms, and touches no
    byte of the file outside the edit's span.
    """

    qualname: str
    start: int  # byte span in the file, decorators included
    end: int
    first_line: int  # 1-based line of the file on which it starts
    last_line: int
    source: bytes
    offsets: tuple[int, ...]  # for each byte of `source` and its end: the offset in the file
    margin: bytes  # the indentation of its first line
    newline: bytes
    tabs: bool

    @cached_property
    def program(self) -> Program:
        return parse(self.source)

    def to_file(self, edit: Edit) -> Edit:
        """The same edit in terms of the file."""

        def indent(match: re.Match[bytes]) -> bytes:
            if match.string[match.end() : match.end() + 1] == b"\n":  # an empty line stays empty
                return self.newline
            spaces = match.group(1)
            if self.tabs:
                spaces = b"\t" * (len(spaces) // len(TAB)) + b" " * (len(spaces) % len(TAB))
            return self.newline + self.margin + spaces

        text = re.sub(rb"\n([ ]*)", indent, edit.text)
        return Edit(self.offsets[edit.start], self.offsets[edit.end], text)


def functions(file: bytes, language: Language = PYTHON) -> list[Function]:
    """Functions and methods of a file in order; what is nested in a function belongs to that function.

    Raises SyntaxError where the file does not parse.
    """
    tree = parse(file, language)
    found, owners = [], [(len(tree.kind), "")]
    node = 1
    while node < len(tree.kind):
        while node >= owners[-1][0]:
            owners.pop()
        kind = tree.kind[node]
        if kind == "class_definition":
            owners.append((tree.last[node], f"{owners[-1][1]}{_name(tree, node)}."))
        inner = _definition(tree, node)
        if inner is not None:
            found.append(_window(tree, node, owners[-1][1] + _name(tree, inner)))
            node = tree.last[node]
        else:
            node += 1
    return found


def _definition(tree: Program, node: int) -> int | None:
    """The function definition that a (perhaps decorated) node is, or None."""
    if tree.kind[node] == "decorated_definition":
        return next((c for c in tree.children(node) if tree.kind[c] == "function_definition"), None)
    return node if tree.kind[node] == "function_definition" else None


def _name(tree: Program, node: int) -> str:
    return next(tree.text(c) for c in tree.children(node) if tree.field[c] == "name").decode()


def _window(tree: Program, node: int, qualname: str) -> Function:
    file, start, end = tree.source, tree.start[node], tree.end[node]
    before = file[file.rfind(b"\n", 0, start) + 1 : start]
    margin = before if not before.strip() else b""
    raw = file[start:end]
    newline = b"\r\n" if b"\r\n" in raw else b"\n"
    tabs = bool(re.search(rb"\n[ ]*\t", raw))
    pieces: list[bytes] = []
    offsets: list[int] = []
    at = start
    for line in re.findall(rb"[^\n]*\n|[^\n]+", raw):
        body = line[len(margin) :] if at > start and line.startswith(margin) else line
        place = at + len(line) - len(body)
        ended = body.endswith(b"\n")
        text = body.removesuffix(b"\n").removesuffix(b"\r") if ended else body
        if tabs:
            rest = text.lstrip(b"\t")
            for _ in range(len(text) - len(rest)):
                pieces.append(TAB)
                offsets += [place] * len(TAB)
                place += 1
            text = rest
        pieces.append(text)
        offsets += range(place, place + len(text))
        if ended:
            pieces.append(b"\n")
            offsets.append(place + len(text))
        at += len(line)
    first_line = file.count(b"\n", 0, start) + 1
    return Function(
        qualname, start, end, first_line, first_line + raw.count(b"\n"), b"".join(pieces),
        (*offsets, end), margin, newline, tabs,
    )  # fmt: skip
