"""The one type every data step passes on: a function with what is known about it."""

import ast
import dataclasses
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Record:
    """A function, its intent, and what it takes to run and to check it."""

    source: str  # standalone: dedented, "\n" line ends, decorators and docstring included, ends with "\n"
    name: str  # the plain name, as the asserts call it
    intent: str = ""  # first sentence of the docstring
    context: str | None = ""  # imports, constants and helpers it needs; None when they could not be found
    asserts: tuple[str, ...] = ()  # statements "assert f(1) == 2" that hold for the source
    origin: str = ""  # "package-version/path/in/package.py"
    licence: str = ""  # as the package states it

    def __post_init__(self) -> None:
        if "\r" in self.source or not self.source.endswith("\n"):
            raise ValueError(f"{self.origin}: source of {self.name} must have LF line ends and end with one")
        if not self.name.isidentifier():
            raise ValueError(f"{self.origin}: {self.name!r} is no function name")
        for line in self.asserts:
            if not line.startswith("assert "):
                raise ValueError(f"{self.origin}: {self.name} has a test that is no assert: {line!r}")


def save(records: Iterable[Record], path: Path) -> None:
    """Write JSON lines, gzipped when the name ends in .gz; the bytes depend on the records alone."""
    lines = "".join(json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in records)
    data = lines.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    part.replace(path)


def load(path: Path) -> list[Record]:
    """Read what `save` wrote. Raises ValueError with the line number where a line is no record."""
    records = []
    for number, fields in enumerate(json_lines(path), start=1):
        try:
            records.append(Record(**{**fields, "asserts": tuple(fields["asserts"])}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a record: {error}") from error
    return records


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl or .jsonl.gz file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def body_without_docstring(node: FunctionNode | ast.ClassDef) -> list[ast.stmt]:
    """The node's own list where there is no docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
