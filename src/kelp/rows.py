"""Rows of text: of Parquet, JSON-lines and text files, local or at a URL, and of data sets of the Hugging Face hub."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kelp.errors import KelpError
from kelp.extras import load_dataset

TEXT = ("text", "content", "code", "source")  # columns that may hold a row's text, the first that exists
PROJECT = ("repo_name", "repo", "repository", "repository_name", "max_stars_repo_name", "project")  # and its project


def open_dataset(name: str, split: str = "train", **options: Any) -> Any:
    """A data set of the Hugging Face hub or its local copy: "NAME", "OWNER/NAME" or "OWNER/NAME/CONFIG"."""
    parts = name.split("/")
    path, config = (name, "") if Path(name).is_dir() else ("/".join(parts[:2]), "/".join(parts[2:]))
    return load_dataset(path, config or None, split=split, **options)


def matching(pattern: str) -> list[str]:
    """Files that match a local path or a URL with wildcards. Raises KelpError."""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(pattern)
        found = sorted(system.glob(path))
    except ImportError as error:  # fsspec itself, or the library that its message names for this kind of URL
        raise KelpError(f"files:{pattern} cannot be read: {error}") from None
    if not found:
        raise KelpError(f"files:{pattern} matches no file")
    remote = "://" in pattern and not pattern.startswith("file://")
    return [system.unstrip_protocol(name) if remote else name for name in found]


def read_rows(path: str) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet or JSON-lines file, a batch in memory at a time; any other file is one row, its text.

    A name that ends in .gz or the like is read through its compression. Raises KelpError, OSError.
    """
    import fsspec

    with fsspec.open(path, "rb", compression=None if ".parquet" in path else "infer") as file:
        if ".parquet" in path:
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(file).iter_batches(batch_size=256):
                yield from batch.to_pylist()
        elif ".json" in path:
            for number, line in enumerate(io.TextIOWrapper(file, encoding="utf-8"), start=1):
                if line.strip():
                    yield _json_object(line, f"{path}, line {number}")
        else:
            yield {"text": file.read().decode("utf-8", "replace"), "path": path}


def _json_object(text: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise KelpError(f"{place} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise KelpError(f"{place} is no JSON object")
    return row
