"""Text to token ids and back, without loss: byte-level BPE inside the language's lexical pieces.

Every piece (a leaf of the tree) begins and ends on a token, so every edit site does. The usual space between
two pieces (`Language.default_gap`) costs nothing; an unusual one is written out. In the vocabulary a piece
begins with "▁", written-out space with "␣", and bytes are spelled in GPT-2's printable alphabet.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from kelp.encoding.vocabulary import SPECIAL
from kelp.syntax.program import Language

PIECE, GAP = "▁", "␣"
SPACE = frozenset(b" \t\r\n\f\\")  # first bytes of the lexer's space pieces


def _byte_alphabet() -> list[str]:
    """GPT-2's spelling of each byte as a printable character, as `tokenizers` has it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


SPELL = _byte_alphabet()
UNSPELL = {character: byte for byte, character in enumerate(SPELL)}
assert set(SPELL) == set(ByteLevel.alphabet())
CHUNK = re.compile(rb" ?[A-Za-z\x80-\xff]+| ?[0-9]{1,3}| ?[^\sA-Za-z0-9\x80-\xff]+|\s+?(?=\s|\S|$)")


class Tokenizer:
    """Encodes whole programs and fragments alike."""

    def __init__(self, bpe: tokenizers.Tokenizer, language: Language) -> None:
        self.bpe, self.language = bpe, language
        self.size = bpe.get_vocab_size()
        vocabulary = bpe.get_vocab()
        self.strings = [""] * self.size
        for string, token in vocabulary.items():
            self.strings[token] = string
        if tuple(self.strings[: len(SPECIAL)]) != SPECIAL:
            raise ValueError("this tokenizer.json is not one of Kelp's: its special tokens differ")
        self._cache: dict[tuple[str, bytes], tuple[int, ...]] = {}

    @classmethod
    def train(cls, texts: Iterable[bytes], vocab_size: int, language: Language) -> "Tokenizer":
        """Learn the merges from texts (programs, asserts, intents). Deterministic."""
        bpe = tokenizers.Tokenizer(BPE())
        trainer = BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=[*sorted(SPELL), PIECE, GAP],
            limit_alphabet=258, max_token_length=20, show_progress=False, min_frequency=2,
        )  # fmt: skip

        def words() -> Iterator[str]:
            for text in texts:
                for marker, piece in _pieces(text, language):
                    if marker is not None:
                        yield from _words(marker, piece)

        bpe.train_from_iterator(words(), trainer)
        return cls(bpe, language)

    @classmethod
    def load(cls, path: Path, language: Language) -> "Tokenizer":
        return cls(tokenizers.Tokenizer.from_file(str(path)), language)

    def save(self, path: Path) -> None:
        self.bpe.save(str(path))

    def encode(self, text: bytes) -> list[int]:
        return self.encode_with_spans(text)[0]

    def encode_with_spans(self, text: bytes) -> tuple[list[int], dict[int, int], dict[int, int]]:
        """Token ids; byte offset where a piece starts -> its first token; where one ends -> its last token."""
        ids: list[int] = []
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        cache, language = self._cache, self.language
        at = 0
        for marker, piece in _pieces(text, language):
            if marker is None:  # usual space: no token
                at += len(piece)
                continue
            tokens = cache.get((marker, piece))
            if tokens is None:
                tokens = self._encode_piece(marker, piece)
            if marker == PIECE:
                starts[at] = len(ids)
            ids += tokens
            at += len(piece)
            if marker == PIECE:
                ends[at] = len(ids) - 1
        return ids, starts, ends

    def _encode_piece(self, marker: str, piece: bytes) -> tuple[int, ...]:
        tokens = tuple(t for word in _words(marker, piece) for t in self.bpe.encode(word, add_special_tokens=False).ids)
        if len(self._cache) > 200_000:
            self._cache.clear()
        self._cache[marker, piece] = tokens
        return tokens

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token stands for, without marker."""
        return bytes(UNSPELL[c] for c in self.strings[token].lstrip(PIECE + GAP))

    def decode(self, ids: Iterable[int]) -> bytes:
        """The text; special tokens write nothing."""
        spelled = "".join(self.strings[i] for i in ids if i >= len(SPECIAL))
        gaps = _Gaps(self.language)
        written: list[bytes] = []
        gap: bytes | None = None
        for segment in re.findall(f"[{PIECE}{GAP}]?[^{PIECE}{GAP}]*", spelled):
            if not segment:
                continue
            marker, body = (segment[0], segment[1:]) if segment[0] in (PIECE, GAP) else (PIECE, segment)
            text = bytes(UNSPELL[c] for c in body)
            if marker == GAP:
                gap = (gap or b"") + text
                continue
            space = gap if gap is not None else gaps.expected(text)
            written += [space, text]
            gaps.saw(space, text)
            gap = None
        return b"".join([*written, gap or b""])


class _Gaps:
    """What `default_gap` needs to know of the text so far."""

    def __init__(self, language: Language) -> None:
        self.default_gap, self.opening, self.closing = language.default_gap, language.opening, language.closing
        self.before = self.left = b""
        self.depth = 0

    def expected(self, right: bytes) -> bytes:
        return self.default_gap(self.before, self.left, right, self.depth > 0)

    def saw(self, space: bytes, piece: bytes) -> None:
        self.before = b"" if b"\n" in space else self.left
        self.left = piece
        if piece in self.opening:
            self.depth += 1
        elif piece in self.closing:
            self.depth -= 1


def _pieces(text: bytes, language: Language) -> Iterator[tuple[str | None, bytes]]:
    """(marker, bytes) in order and without loss; marker None is space that need not be written."""
    gaps = _Gaps(language)
    gap = b""
    for piece in language.lexer.findall(text):
        if piece[0] in SPACE:
            gap += piece
            continue
        usual = gaps.expected(piece) == gap
        if gap or not usual:
            yield (None if usual else GAP), gap
        yield PIECE, piece
        gaps.saw(gap, piece)
        gap = b""
    if gap:
        yield GAP, gap


def _words(marker: str, piece: bytes) -> list[str]:
    """A piece as the words that BPE works on: strings and comments are cut at their words."""
    if marker == PIECE and (len(piece) > 24 or piece[-1:] in b"'\"" or piece[:1] == b"#"):
        chunks = CHUNK.findall(piece)
    elif b"\n" in piece[1:] and len(piece) > 24:
        chunks = re.findall(rb"\n[^\n]*|[^\n]+", piece)
    else:
        chunks = [piece]
    spelled = ["".join(SPELL[b] for b in chunk) for chunk in chunks] or [""]
    return [marker + spelled[0], *spelled[1:]]
