"""Cases in files: one JSON object a line, or a folder of bugs."""

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kelp.evaluation.case import Case

BUGS = "bugs.toml"  # of a folder of bugs: a table for each, named as its folder
FILES = {"source": "{}.py", "visible_tests": "test_{}.py", "hidden_tests": "test_{}_hidden.py", "fixed": "fixed.py"}


def read_cases(path: Path) -> tuple[list[Case], list[str]]:
    """Read the cases of a .jsonl file, one JSON object a line with the fields of `Case`; return them and the faults.

    A tuple of tests is a JSON list. A line with a fault is named and left out. Raises OSError.
    """
    lines = path.read_bytes().splitlines()  # not as text: a line that is no UTF-8 is one bad line
    return collect((f"line {number}", line) for number, line in enumerate(lines, start=1) if line.strip())


def read_folder(folder: Path) -> tuple[list[Case], list[str]]:
    """Read the cases of a folder of bugs; return them and the faults of the others.

    `bugs.toml` has a table for each bug, with fields of `Case` and, for readers, `edits`. A folder of the bug's name,
    which its module has too, holds its `FILES`. Raises OSError, and ValueError where `bugs.toml` cannot be read.
    """
    bugs = tomllib.loads((folder / BUGS).read_text(encoding="utf-8"))
    return collect((name, _of_folder(folder / name, about)) for name, about in bugs.items())


def _of_folder(folder: Path, about: Any) -> Any:
    if not isinstance(about, dict):
        return about
    name = folder.name
    paths = {field: folder / file.format(name) for field, file in FILES.items()}
    # Bytes that are no UTF-8 become surrogates, which no case may hold.
    read = partial(Path.read_text, encoding="utf-8", errors="surrogateescape")
    texts = {field: read(path) for field, path in paths.items() if path.is_file()}
    return {"id": name, "module": name} | {key: about[key] for key in about if key != "edits"} | texts


def collect(items: "Iterator[tuple[str, bytes | Mapping[str, Any]]]") -> tuple[list[Case], list[str]]:
    """Make cases of their fields, or the JSON of them; a case with a fault, or of a known id, is named and left out."""
    cases: dict[str, Case] = {}
    skipped = []
    for name, fields in items:
        try:
            case = _case(json.loads(fields.decode("utf-8-sig")) if isinstance(fields, bytes) else fields)
            if case.id in cases:
                raise ValueError(f"the id {case.id!r} occurs twice")
            cases[case.id] = case
        except (ValueError, RecursionError) as error:  # of JSON too
            skipped.append(f"{name}: {error}")
    return list(cases.values()), skipped


def _case(fields: Any) -> Case:
    if not isinstance(fields, Mapping):
        raise ValueError("not a JSON object")
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(Case)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in fields]:
        raise ValueError(f"there is no {missing[0]!r}")
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}
    return Case(**values)
