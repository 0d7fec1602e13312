"""Functions of a file, each as a program of its own, and edits of them in terms of the file."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from typing import NamedTuple

from tree_sitter import Node

from kelp.syntax.bundle import SEPARATOR, split
from kelp.syntax.edits import Edit
from kelp.syntax.program import Language, Program, parse, tree_of

LINE = re.compile(rb"(\r?\n)([\t\f ]*)")  # a line end, with the indentation of the line after it
TAB = b" " * 4  # replaces a tab of indentation


class View(NamedTuple):
    """The text of a function as a program: dedented, with "\\n" line ends and spaces for indentation."""

    source: bytes
    offsets: tuple[int, ...]  # for each byte of `source` and its end: the offset in the file


@dataclass(frozen=True, eq=False)
class Function:
    """One function or method of a file, with a text of its own, `source`, that is edited as a program.

    The file may have a margin, tabs and CRLF; `to_file` converts an edit of `source` accordingly, and no byte of the
    file outside the edit's span changes. Lines that begin inside a string keep their indentation, which is part of the
    string. The text is made when it is first asked for: a file may have tens of thousands of functions.
    """

    qualname: str
    start: int  # byte span in the file, decorators included
    end: int
    first_line: int  # 1-based line of the file on which it starts
    last_line: int
    raw: bytes  # the bytes of the file
    margin: bytes  # indentation of its first line
    newline: bytes
    tabs: bool  # whether tabs indent its statements
    language: Language
    file: int = 0  # in a bundle: number of its file; the spans and lines above are those of the bundle
    base: int = 0  # ... and the byte at which that file starts, which `offsets` do not count

    @cached_property
    def _view(self) -> View:
        return _view(self)

    @property
    def source(self) -> bytes:
        return self._view.source

    @property
    def offsets(self) -> tuple[int, ...]:
        return self._view.offsets

    @cached_property
    def program(self) -> Program:
        return parse(self.source, self.language)

    def to_file(self, edit: Edit) -> Edit:
        """Convert an edit of `source` into one of the file."""

        def indent(line: re.Match[bytes]) -> bytes:
            spaces = line[2]
            if not spaces and _is_blank(line):
                return self.newline
            if self.tabs:
                spaces = b"\t" * (len(spaces) // len(TAB)) + b" " * (len(spaces) % len(TAB))
            return self.newline + self.margin + spaces

        text = b"".join(
            LINE.sub(indent, piece) if _is_space(piece) else piece.replace(b"\n", self.newline)
            for piece in self.language.lexer.findall(edit.text)
        )
        return Edit(self.base + self.offsets[edit.start], self.base + self.offsets[edit.end], text)

    def moved(self, file: int, base: int, lines: int) -> "Function":
        """Return the function as one of a bundle, where `lines` lines are before those of its file."""
        return replace(
            self, file=file, base=self.base + base, start=self.start + base, end=self.end + base,
            first_line=self.first_line + lines, last_line=self.last_line + lines,
        )  # fmt: skip

    def after(self, edit: Edit, file: bytes) -> "Function":
        """Return the function as it is after an edit of its file, or bundle; `file` is the text before the edit.

        Raises SyntaxError where the edit, which lies wholly inside or outside of it, leaves no such thing.
        """
        if edit.start > self.end:
            return self
        grown = len(edit.text) - (edit.end - edit.start)
        lines = edit.text.count(b"\n") - file.count(b"\n", edit.start, edit.end)
        if edit.end < self.start:
            moved = self.moved(self.file, grown, lines)
            return moved if edit.end < self.base else replace(moved, base=self.base)
        raw = Edit(edit.start - self.start, edit.end - self.start, edit.text).apply(self.raw)
        edited = replace(self, raw=raw, end=self.end + grown, last_line=self.last_line + lines)
        root = tree_of(edited.source, self.language).root_node
        name, _ = next(chain(_definitions(root, self.language), _assignments(root, self.language)), ("", None))
        if not name or root.has_error:
            raise SyntaxError(f"not a function or an assignment in valid {self.language.name}")
        owner, dot, _ = self.qualname.rpartition(".")
        return replace(edited, qualname=f"{owner}{dot}{name}")


def functions(file: bytes, language: Language) -> list[Function]:
    """Functions and methods of a file, or of a bundle, in order; a function nested in another belongs to that one.

    Raises SyntaxError where a file does not parse.
    """
    sources = split(file)
    if len(sources) == 1:
        return _recent(file, language)
    found, base, lines = [], 0, 0
    for number, source in enumerate(sources):
        found += [function.moved(number, base, lines) for function in _kept(source, language)]
        base += len(source) + len(SEPARATOR)
        lines += source.count(b"\n") + 1
    return found


def _functions(file: bytes, language: Language) -> list[Function]:
    return _found(file, language, _definitions)


def _found(
    file: bytes, language: Language, nodes: Callable[[Node, Language], Iterator[tuple[str, Node]]]
) -> list[Function]:
    """Return a function for each name and node that `nodes` yields, in the order of the file."""
    root = tree_of(file, language).root_node
    if root.has_error:
        raise SyntaxError(f"not valid {language.name}")
    found, line, counted = [], 1, 0  # the line at the byte `counted`
    crlf = b"\r\n" in file
    for qualname, node in nodes(root, language):
        line, counted = line + file.count(b"\n", counted, node.start_byte), node.start_byte
        found.append(_function(file, language, node, qualname, line, crlf))
    return found


@lru_cache(4)
def constants(file: bytes, language: Language) -> list[Function]:
    """Assignments of one name outside of functions, in order; a class qualifies the names in it. None in a bundle.

    Each is a program of one statement. Raises SyntaxError where the file does not parse.
    """
    return [] if len(split(file)) > 1 else _found(file, language, _assignments)


_recent = lru_cache(4)(_functions)  # a search comes back to the file as it is
_kept = lru_cache(64)(_functions)  # an edit of a bundle leaves most files as they are


def _definitions(root: Node, language: Language) -> Iterator[tuple[str, Node]]:
    """Yield the qualified name and the node, with decorators, of each function that is in no other, in order."""
    cursor = root.walk()
    owners: list[tuple[int, str]] = [(-1, "")]  # of each class around the node: its depth, and its name with a dot
    while True:
        node = cursor.node
        assert node is not None
        while cursor.depth <= owners[-1][0]:
            owners.pop()
        inner = _definition(node, language)
        if inner is not None:
            yield owners[-1][1] + _name(inner), node
        elif node.type in language.classes:
            owners.append((cursor.depth, f"{owners[-1][1]}{_name(node)}."))
        if inner is None and node.type not in language.atoms and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def _assignments(root: Node, language: Language) -> Iterator[tuple[str, Node]]:
    """Yield the qualified name and the statement of each assignment of one name outside of functions, in order."""
    roles, left = language.near_miss.roles, [(root, "")]
    while left:
        node, owner = left.pop()
        inside = node.children[0] if node.type in roles.get("expression statement", ()) else None
        if inside is not None:
            name, value = inside.child_by_field_name("left"), inside.child_by_field_name("right")
            if inside.type in roles["assignment"] and name and value and name.type in roles["name"]:
                yield f"{owner}{(name.text or b'').decode()}", node
        elif node.type not in language.functions | language.atoms:
            owner = f"{owner}{_name(node)}." if node.type in language.classes else owner
            left += [(child, owner) for child in reversed(node.children)]


def _definition(node: Node, language: Language) -> Node | None:
    """The function definition that a node is or wraps (in decorators); None where there is none."""
    if node.type in language.wrappers:
        return next((child for child in node.children if child.type in language.functions), None)
    return node if node.type in language.functions else None


def _name(node: Node) -> str:
    name = node.child_by_field_name("name")
    assert name is not None and name.text is not None
    return name.text.decode()


def _is_space(piece: bytes) -> bool:
    """Return whether this piece of the lexer is space, line continuations included."""
    return not piece.strip(b" \t\f\r\n\\")


def _is_blank(line: re.Match[bytes]) -> bool:
    """Return whether the line that this match of `LINE` begins is empty."""
    return line.string[line.end() : line.end() + 2].lstrip(b"\r").startswith(b"\n")


def _indented_by_tabs(file: bytes, language: Language, node: Node, margin: bytes) -> bool:
    """Return whether every statement inside the node is indented beyond the margin by tabs alone."""
    indents, left = set(), [node]
    while left:
        block = left.pop()
        left += [] if block.type in language.atoms else block.children
        rule = language.lists.get(block.type)
        if rule is not None and rule.element == "statement":
            line = file[file.rfind(b"\n", 0, block.start_byte) + 1 : block.start_byte]
            if not line.strip():
                indents.add(line.removeprefix(margin))
    return bool(indents) and not any(indent.strip(b"\t") for indent in indents)


def _function(file: bytes, language: Language, node: Node, qualname: str, line: int, crlf: bool) -> Function:
    """The function at a node of a file, which starts on this line; whether the file has `crlf` line ends."""
    start, end = node.start_byte, node.end_byte
    end -= file[start:end].endswith(b"\r")  # the grammar includes the \r of CRLF in a comment
    before = file[file.rfind(b"\n", 0, start) + 1 : start]
    margin = before if not before.strip() else b""
    raw = file[start:end]
    newline = b"\r\n" if (b"\r\n" in raw if b"\n" in raw else crlf) else b"\n"
    tabs = b"\t" in raw and _indented_by_tabs(file, language, node, margin)
    last_line = line + raw.count(b"\n")
    return Function(qualname, start, end, line, last_line, raw, margin, newline, tabs, language)


def _view(function: Function) -> View:
    """Dedent a function."""
    source = bytearray()
    offsets: list[int] = []

    def append(text: bytes, at: int) -> None:
        source.extend(text)
        offsets.extend(range(at, at + len(text)))

    at = start = function.start - function.base
    for piece in function.language.lexer.findall(function.raw):
        done = 0
        for line in LINE.finditer(piece):
            append(piece[done : line.start()], at + done)
            source.extend(b"\n")
            offsets.append(at + line.start())
            done = line.end(1)
            if not _is_space(piece):
                continue
            if line[2].startswith(function.margin):
                done += len(function.margin)
            elif _is_blank(line):
                done = line.end()
            while function.tabs and piece[done : done + 1] == b"\t":
                source.extend(TAB)
                offsets.extend([at + done] * len(TAB))
                done += 1
        append(piece[done:], at + done)
        at += len(piece)
    return View(bytes(source), (*offsets, start + len(function.raw)))
