"""Text of a language model: the sources that a recipe names, document by document, and which of them are held out."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from kelp.bucket import Folder, fetched
from kelp.errors import KelpError
from kelp.lm.tokenizer import Special, Tokenizer
from kelp.model.store import find
from kelp.rows import PROJECT, TEXT, matching, open_dataset, read_rows
from kelp.training.config import RunConfig, Section

IDENTITY = (*PROJECT, "id", "url")  # columns that may say what a document belongs to, the first that exists
TOGETHER = 1000  # documents encoded in one call, on all cores


class DataSection(Section):
    """`[data]`: the text that a language model is trained on, and how it becomes rows of tokens."""

    sources: tuple[str, ...] = Field(min_length=1)  # files:GLOB, hf:NAME[/CONFIG] or corpus:FOLDER
    text: str = ""  # column of the text; "": the first of text, content, code and source that exists
    split: str = "train"  # of a data set on the hub
    revision: str | None = None  # of a data set on the hub: a branch, tag or commit
    tokenizer: (
        Folder  # a tokenizer.json, a folder with one or with GPT-2's vocab.json and merges.txt, or a model's name
    )
    vocab_size: int = Field(default=16_384, gt=0)  # of the tokenizer that `kelp lm tokenizer train` makes
    end: str = Special.end  # names of the special tokens
    mask: str = Special.mask
    pad: str = Special.pad
    folder: Folder  # tokens made ahead; of a stream, its held-out documents and its place
    streaming: bool = False  # read an hf: source as training goes, instead of tokenizing it ahead
    buffer: int = Field(default=10_000, gt=0)  # documents of a stream that are shuffled and packed together
    length: int = Field(default=512, gt=1)  # tokens of a row
    packed: bool = True  # several documents a row, which do not see each other; otherwise one, cut at the row's end
    valid_share: float = Field(default=0.05, ge=0, le=0.5)  # held out: one project in so many, by the hash of its name
    valid_documents: int = Field(default=2_000, ge=0)  # held-out documents that are measured, the first ones

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if source.partition(":")[0] not in ("files", "hf", "corpus"):
                raise ValueError(f"{source!r} is no source: sources are files:GLOB, hf:NAME[/CONFIG] and corpus:FOLDER")
        return sources

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.streaming and not (len(self.sources) == 1 and self.sources[0].startswith("hf:")):
            raise ValueError("streaming = true takes exactly one source, an hf: one")
        _ = self.special
        return self

    @property
    def special(self) -> Special:
        """Names of the special tokens."""
        return Special(self.end, self.mask, self.pad)

    def load_tokenizer(self) -> Tokenizer:
        """The tokenizer with the recipe's special tokens. Raises KelpError."""
        return Tokenizer.load(find(fetched(self.tokenizer)), self.special)


class DataRecipe(RunConfig):
    """A recipe of which the sections that belong to the model are not read."""

    model_config = ConfigDict(extra="ignore")

    data: DataSection


class Document(NamedTuple):
    text: str | list[int]  # or its tokens, where they were made ahead
    valid: bool  # held out


def documents(section: DataSection) -> Iterator[Document]:
    """The documents of all sources in order, empty ones left out. Raises KelpError."""
    for source in section.sources:
        yield from documents_of(_rows(source, section), source, section)


def documents_of(rows: Iterable[dict[str, Any]], source: str, section: DataSection) -> Iterator[Document]:
    """The documents of a source's rows, empty ones left out. Raises KelpError."""
    try:
        for row in rows:
            column = next((c for c in ((section.text,) if section.text else (*TEXT, "tokens")) if c in row), None)
            if column is None:
                wanted = section.text or " or ".join(TEXT)
                raise KelpError(f"{source} has no column {wanted} among {', '.join(row)}: name it with text in [data]")
            if not (text := row[column]):
                continue
            if not isinstance(text, str) and (column != "tokens" or type(text[0]) is not int):
                raise KelpError(f"{source} has no text in its column {column}: name another with text in [data]")
            yield Document(text, _held_out(row, text, section.valid_share))
    except (ImportError, OSError, ValueError) as error:  # an import's message names the library for a kind of URL
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise KelpError(f"{source} cannot be read: {reason}") from None


def _held_out(row: dict[str, Any], text: str | list[int], share: float) -> bool:
    """Return whether a document is held out: as a corpus says, otherwise by the hash of its project, id or text."""
    if row.get("split") in ("train", "valid"):
        return bool(row["split"] == "valid")
    name = str(next((row[column] for column in IDENTITY if row.get(column)), text))
    return share > 0 and zlib.crc32(name.lower().encode("utf-8", "replace")) % round(1 / share) == 0


def _rows(source: str, section: DataSection) -> Iterator[dict[str, Any]]:
    kind, _, rest = source.partition(":")
    if kind == "hf":
        yield from open_hub(section, rest)
        return
    paths = matching(rest) if kind == "files" else sorted(map(str, fetched(rest).glob("functions-*.parquet")))
    if not paths:
        raise KelpError(f"{source} holds no corpus: make one with kelp corpus build --out {rest}")
    for path in paths:
        yield from read_rows(path)


def open_hub(section: DataSection, name: str, revision: str | None = None) -> Any:
    """A data set of the hub or its local copy, in the cache (HF_DATASETS_CACHE) unless it is streamed."""
    revision = revision or section.revision
    return open_dataset(name, section.split, revision=revision, streaming=section.streaming)


def origin(section: DataSection) -> list[dict[str, Any]]:
    """Where each source's text comes from: name, number of files; of a data set, its commit and the cache."""
    found: list[dict[str, Any]] = []
    for source in section.sources:
        kind, _, rest = source.partition(":")
        found.append({"source": source})
        if kind == "hf":
            import datasets

            found[-1] |= {"revision": _commit(rest, section.revision), "cache": str(datasets.config.HF_DATASETS_CACHE)}
        elif kind == "files":
            found[-1]["files"] = len(matching(rest))
    return found


def _commit(name: str, revision: str | None) -> str | None:
    """The commit of a data set; the revision as it is given where the data are local or the hub cannot be asked."""
    import datasets
    import huggingface_hub

    if Path(name).is_dir() or datasets.config.HF_DATASETS_OFFLINE:
        return revision
    try:
        name = "/".join(name.split("/")[:2])
        return huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception:  # of many kinds, from many layers; `open_hub` says what is wrong
        return revision


def encode(found: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[list[int], bool]]:
    """The tokens of each document, and whether it is held out. Raises KelpError."""
    found = iter(found)
    while batch := list(islice(found, TOGETHER)):
        encoded = iter(tokenizer.encode_batch([d.text for d in batch if not isinstance(d.text, list)]))
        for text, valid in batch:
            tokens = text if isinstance(text, list) else next(encoded)
            if text is tokens and max(tokens) >= tokenizer.size:
                raise KelpError(f"a document holds the token {max(tokens)}, and the tokenizer has {tokenizer.size}")
            yield tokens, valid
