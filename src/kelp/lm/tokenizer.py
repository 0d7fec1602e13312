"""Tokenizer of a language model: any `tokenizer.json`, GPT-2's pair of files, or a byte-level BPE trained on text.

A text is encoded byte for byte, and what looks like a special token in it is text. Special tokens are added by name.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from kelp.encoding.byte_level import SPELL, unspell, unspell_fallback
from kelp.errors import KelpError
from kelp.files import atomic

PROBE = "  def f(x):\n\treturn 'é' # ≠\n"  # a tokenizer that does not give it back would change programs


@dataclass(frozen=True)
class Special:
    """Names of the special tokens."""

    end: str = "<|endoftext|>"
    mask: str = "<|mask|>"
    pad: str = "<|pad|>"

    def __post_init__(self) -> None:
        if self.mask in (self.end, self.pad):
            raise ValueError(f"the mask token must not be the end-of-text or the padding token, got {self.mask!r}")

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys((self.end, self.mask, self.pad)))


class Tokenizer:
    """Text to token ids and back, with the ids of the special tokens and the bytes of every token."""

    def __init__(self, bpe: tokenizers.Tokenizer, special: Special = Special()) -> None:
        """Take over `bpe`, with the special tokens added that it lacks. Raises KelpError."""
        bpe.no_truncation()
        bpe.no_padding()
        bpe.add_special_tokens(special.names)
        bpe.encode_special_tokens = True  # a special token's name in a text is text
        self.bpe, self.special = bpe, special
        vocabulary = bpe.get_vocab()
        self.end, self.mask, self.pad = vocabulary[special.end], vocabulary[special.mask], vocabulary[special.pad]
        self.size = max(vocabulary.values()) + 1
        added = bpe.get_added_tokens_decoder()
        byte_level = '"type":"ByteLevel"' in bpe.to_str()
        self.token_bytes = [b""] * self.size  # what each token writes; a special token writes nothing
        for string, token in vocabulary.items():
            if token in added:
                self.token_bytes[token] = b"" if added[token].special else string.encode()
            else:
                self.token_bytes[token] = unspell(string) if byte_level else unspell_fallback(string)
        self.widths = np.array([len(text) for text in self.token_bytes], np.int32)  # bytes of each token
        self._byte_tokens = [vocabulary.get(SPELL[b] if byte_level else f"<0x{b:02X}>") for b in range(256)]

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, special: Special = Special()) -> "Tokenizer":
        """Learn a byte-level BPE. Deterministic. Raises KelpError."""
        least = 256 + len(special.names)
        if vocab_size < least:
            raise KelpError(f"a vocabulary of {vocab_size} is too small: bytes and special tokens alone take {least}")
        bpe = _byte_level(BPE())
        trainer = BpeTrainer(
            vocab_size=vocab_size, min_frequency=2, special_tokens=special.names, initial_alphabet=sorted(SPELL),
            show_progress=False,
        )  # fmt: skip
        bpe.train_from_iterator((_well_formed(text) for text in texts), trainer)
        return cls(bpe, special)

    @classmethod
    def load(cls, path: Path, special: Special = Special()) -> "Tokenizer":
        """The tokenizer of a `tokenizer.json`, or of a folder with one or with `vocab.json` and `merges.txt`.

        A space that it would put before a text is left out. Raises KelpError.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        pair = path / "vocab.json", path / "merges.txt"
        try:
            if file.exists() or not pair[0].exists():
                bpe = _without_prefix(file.read_text(encoding="utf-8"))
            else:
                bpe = _byte_level(BPE.from_file(*map(str, pair)))
        except FileNotFoundError:
            raise KelpError(f"there is no tokenizer {path}", "kelp lm tokenizer train makes one") from None
        except Exception as error:  # `tokenizers` raises plain Exception
            raise KelpError(f"{path} is no tokenizer: {' '.join(str(error).split())[:200]}") from None
        loaded = cls(bpe, special)
        if (back := loaded.decode(loaded.encode(PROBE))) != PROBE.encode():
            raise KelpError(f"{path} does not give a text back byte for byte: {PROBE!r} becomes {back!r}")
        return loaded

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and for a BPE GPT-2's vocab.json and merges.txt. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / "tokenizer.json") as new:
            self.bpe.save(str(new))
        if isinstance(self.bpe.model, BPE):
            self.bpe.model.save(str(folder))

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the tokenizer's file."""
        return hashlib.sha256(self.bpe.to_str().encode()).hexdigest()[:16]

    def encode(self, text: str | bytes) -> list[int]:
        """Token ids, none of them special. Raises KelpError for a byte outside of UTF-8 that has no token."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str | bytes]) -> list[list[int]]:
        """The same for several texts, on all cores."""
        try:
            encoded = self.bpe.encode_batch_fast(texts, add_special_tokens=False)
            return [encoding.ids for encoding in encoded]
        except TypeError:  # bytes, or a text with half a surrogate pair in it
            return [[token for part in _parts(text) for token in self._encode_part(part)] for text in texts]

    def _encode_part(self, part: str | int) -> list[int]:
        if isinstance(part, str):
            ids: list[int] = self.bpe.encode(part, add_special_tokens=False).ids
            return ids
        token = self._byte_tokens[part]
        if token is None:
            raise KelpError(f"the text is not UTF-8, and the tokenizer has no token for the byte 0x{part:02X}")
        return [token]

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of the text; special tokens write nothing."""
        return b"".join(self.token_bytes[token] for token in ids)


def _parts(text: str | bytes) -> Iterator[str | int]:
    """UTF-8 text, and each byte that is not part of any."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    for part in re.findall("[\udc80-\udcff]|[^\udc80-\udcff]+", data.decode("utf-8", "surrogateescape")):
        yield ord(part) - 0xDC00 if "\udc80" <= part <= "\udcff" else part


def _well_formed(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _byte_level(model: BPE) -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(model)
    bpe.pre_tokenizer, bpe.decoder = ByteLevel(), decoders.ByteLevel()
    return _without_prefix(bpe.to_str())


def _without_prefix(source: str) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json, without the space that it would put before a text."""

    def changed(part: dict[str, Any]) -> dict[str, Any]:
        match part.get("type"):
            case "Prepend":
                return {"type": "Sequence", "normalizers": []}
            case "Metaspace":
                return part | {"prepend_scheme": "never"}
            case "ByteLevel":
                return part | {"add_prefix_space": False}
        return part

    return tokenizers.Tokenizer.from_str(json.dumps(json.loads(source, object_hook=changed)))
