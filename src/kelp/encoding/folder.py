"""An encoding as two files of a folder: tokenizer.json, and encoding.json, which gives the ids' meanings by name.

A folder of training data, a training run and a model folder hold the same two files. Special tokens and site kinds are
stored by name with their numbers, so that a model's weights mean the same in whatever order the code lists them.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kelp.encoding.condition import EncodingConfig
from kelp.encoding.vocabulary import PADDING, STOP, EncodingError, SpecialTokens, site_kinds
from kelp.files import atomic

if TYPE_CHECKING:  # training reads encoding.json without the tokenizer libraries
    from kelp.encoding.encoder import Encoder
    from kelp.syntax.program import Language

SCHEMA = 1
FILES = ("tokenizer.json", "encoding.json")


@dataclass(frozen=True)
class StoredEncoding:
    """The content of encoding.json."""

    tokenizer: str  # `Tokenizer.kind`
    language: str
    vocabulary: int  # size, special tokens included
    special: SpecialTokens
    kinds: tuple[str, ...]  # of site rows, in order: the first two are "padding" and "stop"
    limits: EncodingConfig


def save_encoding(folder: Path, encoder: "Encoder") -> None:
    """Write both files; encoding.json comes last and whole, so where it stands the folder is complete."""
    encoder.tokenizer.save(folder / "tokenizer.json")
    description = {
        "schema": SCHEMA,
        "tokenizer": encoder.tokenizer.kind,
        "language": encoder.language.name,
        "vocabulary": encoder.tokenizer.size,
        "special_tokens": encoder.special.ids,
        "site_kinds": encoder.kinds,
        "limits": asdict(encoder.config),
    }
    with atomic(folder / "encoding.json") as new:
        new.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def read_encoding(folder: Path) -> StoredEncoding:
    """The content of encoding.json. Raises EncodingError."""
    path = folder / "encoding.json"
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncodingError(
            f"{folder} holds no encoding.json, so an older Kelp made it: make it again, or install the Kelp that did."
        ) from None
    except (OSError, ValueError) as error:
        raise EncodingError(f"{path} cannot be read ({error}): fetch or make the folder again.") from None
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        schema = stored.get("schema") if isinstance(stored, dict) else None
        raise EncodingError(
            f"{path} has schema {schema!r} and this Kelp reads {SCHEMA}: install the Kelp that made it."
        )
    try:
        found = StoredEncoding(
            tokenizer=stored["tokenizer"],
            language=stored["language"],
            vocabulary=int(stored["vocabulary"]),
            special=SpecialTokens.named(stored["special_tokens"]),
            kinds=tuple(stored["site_kinds"]),
            limits=EncodingConfig(**stored["limits"]),
        )
        ids = found.special.ids.values()
        if len(set(ids)) < len(ids) or not all(0 <= token < found.vocabulary for token in ids):
            raise ValueError("special tokens share an id or lie outside the vocabulary")
        if len(set(found.kinds)) < len(found.kinds) or found.kinds[PADDING : STOP + 1] != ("padding", "stop"):
            raise ValueError("site kinds do not begin with padding and stop, or repeat")
    except (KeyError, TypeError, ValueError) as error:
        raise EncodingError(f"{path} is damaged ({type(error).__name__}: {error}): fetch the folder again.") from None
    return found


def same_encoding(first: Path, second: Path) -> bool:
    """Return whether ids mean the same in two folders. Limits may differ: they change no weight's meaning."""
    one, other = (read_encoding(folder) for folder in (first, second))
    same = replace(one, limits=other.limits) == other
    return same and same_tokenizer(first, second)


def same_tokenizer(first: Path, second: Path) -> bool:
    """Return whether two folders have the same tokenizer.json."""
    paths = (first / "tokenizer.json", second / "tokenizer.json")
    return all(path.is_file() for path in paths) and len({path.read_bytes() for path in paths}) == 1


def load_encoding(folder: Path, language: "Language", limits: EncodingConfig | None = None) -> "Encoder":
    """The encoder of a folder for a language, with other limits where they are given. Raises EncodingError."""
    from kelp.encoding.encoder import Encoder
    from kelp.encoding.tokenizer import TOKENIZERS

    stored = read_encoding(folder)
    if stored.language != language.name:
        raise EncodingError(f"{folder} is for the language {stored.language!r}, not {language.name!r}.")
    check_kinds(stored.kinds, language, folder)
    if stored.tokenizer not in TOKENIZERS:
        raise EncodingError(f"{folder} has the tokenizer {stored.tokenizer!r}, which this Kelp does not know.")
    try:
        source = (folder / "tokenizer.json").read_text(encoding="utf-8")
        tokenizer = TOKENIZERS[stored.tokenizer](source, language, stored.special.ids)
    except (OSError, ValueError) as error:
        raise EncodingError(f"{folder}/tokenizer.json cannot be read: {error}.") from None
    if (tokenizer.size, tokenizer.special) != (stored.vocabulary, stored.special):
        raise EncodingError(f"{folder}/tokenizer.json and encoding.json do not go together: fetch the folder again.")
    return Encoder(tokenizer, limits or stored.limits, stored.kinds)


def check_kinds(kinds: tuple[str, ...], language: "Language", folder: Path) -> None:
    """Raise EncodingError where the code does not know a site kind that a model numbers.

    A kind that only the code knows is no error: its sites have rows of padding, at which no model points.
    """
    unknown = sorted(set(kinds) - set(site_kinds(language)))
    if unknown:
        raise EncodingError(
            f"{folder} has the site kind {unknown[0]!r}, which this Kelp does not know: install the Kelp that made it."
        )
