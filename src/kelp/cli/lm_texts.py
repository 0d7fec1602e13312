"""Texts that `kelp lm eval` measures on: files, a data set of the hub, or the held-out part of a corpus."""

import glob
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from kelp.errors import KelpError
from kelp.extras import require

T = TypeVar("T")


def read_texts(data: str, *, split: str = "train", documents: int | None = None, seed: int = 0) -> list[str]:
    """The texts that --data names, or so many of them, drawn by the seed. Raises KelpError."""
    texts = _sources(data, split) if data.partition(":")[0] in ("files", "hf", "corpus") else _files(data)
    found = draw(texts, documents, seed)
    if not found:
        raise KelpError(f"--data {data} names no file with text")
    return found


def draw(items: Iterable[T], count: int | None, seed: int) -> list[T]:
    """So many of the items in their order, each as likely as any other (Vitter 1985, algorithm R), or all."""
    if count is None:
        return list(items)
    rng, kept = random.Random(seed), list[tuple[int, T]]()
    for number, item in enumerate(items):
        if number < count:
            kept.append((number, item))
        elif (place := rng.randrange(number + 1)) < count:
            kept[place] = (number, item)
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]


def _files(pattern: str) -> Iterator[str]:
    for path in sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file()):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise KelpError(f"{path} of --data {pattern} is not UTF-8: {error.reason}") from None
        if text:
            yield text


def _sources(source: str, split: str) -> Iterator[str]:
    require("data", f"--data {source}")
    from kelp.lm.text import DataSection, documents

    section = DataSection(sources=(source,), split=split, tokenizer=Path(), folder=Path(), valid_share=0)
    corpus = source.startswith("corpus:")
    for document in documents(section):
        if not isinstance(document.text, str):
            raise KelpError(f"--data {source} holds tokens: give the text that they were made of")
        if document.valid or not corpus:
            yield document.text
