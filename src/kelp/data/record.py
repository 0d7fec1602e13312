"""The one type every data step passes on: a function with what is known about it; and its Parquet files."""

import ast
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kelp.extras import install
from kelp.syntax.program import Program, parse

if TYPE_CHECKING:
    import pyarrow as pa

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class DataError(RuntimeError):
    """The data cannot be used, or not be made; the message is one sentence."""


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
    project: str = ""  # what is held out whole
    split: str = "train"  # or "valid"
    mutation_score: float | None = None  # share of the near misses tried that an assert tells from the source
    before: str = ""  # the source of an earlier release that people made this one of; "" where that is not known

    def __post_init__(self) -> None:
        if "\r" in self.source or not self.source.endswith("\n"):
            raise ValueError(f"{self.origin}: source of {self.name} must have LF line ends and end with one")
        if not self.name.isidentifier():
            raise ValueError(f"{self.origin}: {self.name!r} is no function name")
        for line in self.asserts:
            if not line.startswith("assert "):
                raise ValueError(f"{self.origin}: {self.name} has a test that is no assert: {line!r}")


def parse_source(source: str) -> Program:
    """A record's source as a program, which ends where its function ends."""
    return parse(source.rstrip().encode())


def schema() -> "pa.Schema":
    """Of the Parquet files of a corpus: a Record's fields, and what can be told from its source."""
    pa = arrow()
    return pa.schema([
        ("source", pa.string()), ("name", pa.string()), ("signature", pa.string()), ("docstring", pa.string()),
        ("intent", pa.string()), ("context", pa.string()), ("asserts", pa.list_(pa.string())),
        ("mutation_score", pa.float32()), ("origin", pa.string()), ("project", pa.string()),
        ("licence", pa.string()), ("split", pa.string()), ("sha256", pa.string()),
        ("before", pa.string()),
    ])  # fmt: skip


def row(record: Record) -> dict[str, Any]:
    """The columns of one record."""
    function = ast.parse(record.source).body[0]
    digest = hashlib.sha256((record.before + record.source).encode()).hexdigest()
    derived = {"signature": "", "docstring": "", "sha256": digest}
    if isinstance(function, FunctionNode):
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        derived["signature"] = f"{function.name}({ast.unparse(function.args)}){returns}"
        derived["docstring"] = ast.get_docstring(function) or ""
    return {f.name: getattr(record, f.name) for f in fields(Record)} | derived


def save(records: Iterable[Record], path: Path) -> None:
    """Write one Parquet file, atomically; the bytes depend on the records alone."""
    save_table(arrow().Table.from_pylist([row(r) for r in records], schema()), path)


def save_table(table: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    pq.write_table(table, part, compression="zstd")
    part.replace(path)


def load(path: Path) -> list[Record]:
    """The records of a Parquet file, or of all those of a corpus folder. Raises DataError."""
    paths = sorted(path.glob("functions-*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"{path} holds no corpus: make one with kelp corpus build --out {path}")
    return [record for each in paths for record in _read(each)]


def _read(path: Path) -> Iterator[Record]:
    arrow()
    import pyarrow.parquet as pq

    try:
        there = pq.read_schema(path).names
        names = [f.name for f in fields(Record) if f.name in there or f.name != "before"]  # which came later
        rows = pq.read_table(path, columns=names).to_pylist()
        yield from (Record(**{**row, "asserts": tuple(row["asserts"] or ())}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is no Parquet file of functions: {' '.join(str(error).split())[:200]}") from None


def arrow() -> Any:
    """The module pyarrow, or a sentence that says how to get it."""
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"corpora are Parquet files, which need pyarrow: {install('data')}") from None
    return pyarrow


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl or .jsonl.gz file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def body_without_docstring(node: FunctionNode | ast.ClassDef) -> list[ast.stmt]:
    """The node's own list where there is no docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
