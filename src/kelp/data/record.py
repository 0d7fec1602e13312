"""Record: a function with its intent, context and asserts, the type that all data steps pass on; its Parquet files."""

import ast
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kelp.errors import KelpError
from kelp.extras import install
from kelp.files import atomic
from kelp.languages.registry import by_name
from kelp.syntax.program import Program, parse

if TYPE_CHECKING:
    import pyarrow as pa

LANGUAGE = by_name("python")  # of every corpus there is
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class DataError(KelpError):
    """Raised if data cannot be used or made; the message is one sentence."""


@dataclass(frozen=True)
class Record:
    """Function with its intent, its context (to run it) and its asserts (to check it)."""

    source: str  # standalone: dedented, "\n" line ends, decorators and docstring included, ends with "\n"
    name: str  # plain name, as the asserts call it
    intent: str = ""  # first sentence of the docstring
    context: str | None = ""  # imports, constants and helpers it needs; None if they could not be resolved
    asserts: tuple[str, ...] = ()  # statements "assert f(1) == 2" that hold for the source
    origin: str = ""  # "package-version/path/in/package.py"
    license: str = ""  # as the package states it
    project: str = ""  # unit that is held out whole
    split: str = "train"  # or "valid"
    mutation_score: float | None = None  # share of the near misses tried that some assert detects
    before: str = ""  # source in the release before the fix; "" if unknown

    def __post_init__(self) -> None:
        if "\r" in self.source or not self.source.endswith("\n"):
            raise ValueError(f"{self.origin}: source of {self.name} must have LF line ends and end with one")
        if not self.name.isidentifier():
            raise ValueError(f"{self.origin}: {self.name!r} is no function name")
        for line in self.asserts:
            if not line.startswith("assert "):
                raise ValueError(f"{self.origin}: {self.name} has a test that is no assert: {line!r}")


def parse_source(source: str) -> Program:
    """Program of a record, which ends where its function ends."""
    return parse(source.rstrip().encode(), LANGUAGE)


def schema() -> "pa.Schema":
    """Schema of a corpus's Parquet files: the fields of a Record, and columns derived from its source."""
    pa = arrow()
    return pa.schema([
        ("source", pa.string()), ("name", pa.string()), ("signature", pa.string()), ("docstring", pa.string()),
        ("intent", pa.string()), ("context", pa.string()), ("asserts", pa.list_(pa.string())),
        ("mutation_score", pa.float32()), ("origin", pa.string()), ("project", pa.string()),
        ("license", pa.string()), ("split", pa.string()), ("sha256", pa.string()),
        ("before", pa.string()),
    ])  # fmt: skip


def row(record: Record) -> dict[str, Any]:
    """Columns of one record."""
    function = ast.parse(record.source).body[0]
    digest = hashlib.sha256((record.before + record.source).encode()).hexdigest()
    derived = {"signature": "", "docstring": "", "sha256": digest}
    if isinstance(function, FunctionNode):
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        derived["signature"] = f"{function.name}({ast.unparse(function.args)}){returns}"
        derived["docstring"] = ast.get_docstring(function) or ""
    return {f.name: getattr(record, f.name) for f in fields(Record)} | derived


def save(records: Iterable[Record], path: Path) -> None:
    """Write one Parquet file atomically; its bytes depend on the records alone."""
    save_table(arrow().Table.from_pylist([row(r) for r in records], schema()), path)


def save_table(table: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as new:
        pq.write_table(table, new, compression="zstd")


def load(path: Path) -> list[Record]:
    """Records of a Parquet file or of a corpus folder. Raises DataError."""
    paths = sorted(path.glob("functions-*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"{path} holds no corpus: make one with kelp corpus build --out {path}")
    return [record for each in paths for record in _read(each)]


def _read(path: Path) -> Iterator[Record]:
    arrow()
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # `pq.read_table` imports pandas where there is one
            there = file.schema_arrow.names
            names = [f.name for f in fields(Record) if f.name in there or f.name != "before"]  # a column added later
            rows = file.read(columns=names).to_pylist()
        yield from (Record(**{**row, "asserts": tuple(row["asserts"] or ())}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is no Parquet file of functions: {' '.join(str(error).split())[:200]}") from None


def arrow() -> Any:
    """Import pyarrow. Raises DataError with the command that installs it."""
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"corpora are Parquet files, which need pyarrow: {install('data')}") from None
    return pyarrow


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a .jsonl or .jsonl.gz file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def body_without_docstring(node: FunctionNode | ast.ClassDef) -> list[ast.stmt]:
    """Statements of a function without its docstring; the node's own list if there is none."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """(train, valid), split by project as the corpus is. Where no project is held out (toy), valid is train."""
    train, valid = ([r for r in records if r.split == part] for part in ("train", "valid"))
    return train, valid or train
