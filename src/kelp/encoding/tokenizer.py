"""Text to token ids and back, byte for byte, with every lexical piece beginning and ending on a token.

A piece is a leaf of the tree (`Language.lexer` finds it), so every edit site begins and ends on a token. Two
tokenizers do this. `ImpliedSpaceTokenizer` is trained on programs; the usual space between two pieces
(`Language.default_gap`) costs it nothing. `LexicalTokenizer` runs the tokenizer of a pretrained model, any Hugging Face
`tokenizer.json`, on each piece with its leading space.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kelp.encoding.byte_level import SPELL, UNSPELL, unspell, unspell_fallback
from kelp.encoding.vocabulary import NAMES, EncodingError, SpecialTokens
from kelp.syntax.program import Language

SPACE = frozenset(b" \t\r\n\f\\")  # first bytes of the lexer's space pieces
CACHED_PIECES = 200_000  # a cache that holds more is emptied

Place = Literal["first", "next", "inside"]  # of a token in a text: begins it, begins a later piece, continues a piece
Spans = tuple[list[int], dict[int, int], dict[int, int]]


class Tokenizer(Protocol):
    """Tokens of whole programs and of fragments alike."""

    kind: ClassVar[str]  # name of the implementation in encoding.json
    holds_space: ClassVar[bool]  # whether the first token of a piece holds the space before it
    language: Language
    special: SpecialTokens
    size: int  # of the vocabulary, special tokens included

    def encode(self, text: bytes) -> list[int]:
        """Token ids, none of them special."""
        return self.encode_with_spans(text)[0]

    def encode_with_spans(self, text: bytes) -> Spans:
        """Token ids; byte offset where a piece starts -> its first token; where one ends -> its last token."""
        ...

    def decode(self, ids: Iterable[int]) -> bytes:
        """The text; special tokens write nothing."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token writes; none for a special token."""
        ...

    def readings(self, token: int) -> Iterable[tuple[Place, bytes]]:
        """Places where the token may stand, each with the bytes of the piece that it writes there."""
        ...

    def save(self, path: Path) -> None: ...


# ------------------------------------------------------------------------------------------------- implied spaces

PIECE, GAP = "▁", "␣"  # begin a piece, and a space that is written out, in the vocabulary
CHUNK = re.compile(rb" ?[A-Za-z\x80-\xff]+| ?[0-9]{1,3}| ?[^\sA-Za-z0-9\x80-\xff]+|\s+?(?=\s|\S|$)")


class ImpliedSpaceTokenizer(Tokenizer):
    """Byte-level BPE inside lexical pieces, with tokens for unusual space alone.

    In the vocabulary a piece begins with `PIECE`, written-out space with `GAP`, and bytes are spelled in GPT-2's
    printable alphabet.
    """

    kind = "implied spaces"
    holds_space = False

    def __init__(self, bpe: tokenizers.Tokenizer, language: Language) -> None:
        self.bpe, self.language = bpe, language
        self.size = bpe.get_vocab_size()
        vocabulary = bpe.get_vocab()
        try:
            self.special = SpecialTokens.named(vocabulary)
            _ = vocabulary[PIECE], vocabulary[GAP]
        except KeyError as missing:
            raise EncodingError(f"it is not one of Kelp's: it has no token {missing}") from None
        self._strings = [""] * self.size  # of special tokens: ""
        for string, token in vocabulary.items():
            if string not in self.special.ids:
                self._strings[token] = string
        self._cache: dict[tuple[str, bytes], tuple[int, ...]] = {}

    @classmethod
    def train(cls, texts: Iterable[bytes], vocab_size: int, language: Language) -> "ImpliedSpaceTokenizer":
        """Learn the merges from texts (programs, asserts, intents). Deterministic."""
        bpe = tokenizers.Tokenizer(BPE())
        trainer = BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(NAMES.values()), initial_alphabet=[*sorted(SPELL), PIECE, GAP],
            limit_alphabet=258, max_token_length=20, show_progress=False, min_frequency=2,
        )  # fmt: skip

        def words() -> Iterator[str]:
            for text in texts:
                for marker, piece in _marked_pieces(text, language):
                    if marker is not None:
                        yield from _words(marker, piece)

        bpe.train_from_iterator(words(), trainer)
        return cls(bpe, language)

    @classmethod
    def loads(cls, source: str, language: Language) -> "ImpliedSpaceTokenizer":
        """The tokenizer whose tokenizer.json this is. Raises EncodingError."""
        return cls(_parse(source), language)

    def save(self, path: Path) -> None:
        self.bpe.save(str(path))

    def encode_with_spans(self, text: bytes) -> Spans:
        ids: list[int] = []
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        cache, language = self._cache, self.language
        at = 0
        for marker, piece in _marked_pieces(text, language):
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
        if len(self._cache) > CACHED_PIECES:
            self._cache.clear()
        self._cache[marker, piece] = tokens
        return tokens

    def token_bytes(self, token: int) -> bytes:
        return bytes(UNSPELL[c] for c in self._strings[token].lstrip(PIECE + GAP))

    def readings(self, token: int) -> Iterable[tuple[Place, bytes]]:
        string = self._strings[token]
        if not string:
            return ()
        text = self.token_bytes(token)
        return (("first", text), ("next", text)) if string[0] in (PIECE, GAP) else (("inside", text),)

    def decode(self, ids: Iterable[int]) -> bytes:
        spelled = "".join(self._strings[i] for i in ids)
        gaps = _Gaps(self.language)
        texts: list[bytes] = []
        gap: bytes | None = None
        for run in re.findall(f"[{PIECE}{GAP}]?[^{PIECE}{GAP}]*", spelled):
            if not run:
                continue
            marker, body = (run[0], run[1:]) if run[0] in (PIECE, GAP) else (PIECE, run)
            text = bytes(UNSPELL[c] for c in body)
            if marker == GAP:
                gap = (gap or b"") + text
                continue
            space = gap if gap is not None else gaps.expected(text)
            texts += [space, text]
            gaps.advance(space, text)
            gap = None
        return b"".join([*texts, gap or b""])


class _Gaps:
    """State of the text so far that `Language.default_gap` reads: last pieces and open brackets."""

    def __init__(self, language: Language) -> None:
        self.default_gap, self.opening, self.closing = language.default_gap, language.opening, language.closing
        self.before = self.left = b""
        self.depth = 0

    def expected(self, right: bytes) -> bytes:
        return self.default_gap(self.before, self.left, right, self.depth > 0)

    def advance(self, space: bytes, piece: bytes) -> None:
        self.before = b"" if b"\n" in space else self.left
        self.left = piece
        if piece in self.opening:
            self.depth += 1
        elif piece in self.closing:
            self.depth -= 1


def _marked_pieces(text: bytes, language: Language) -> Iterator[tuple[str | None, bytes]]:
    """(marker, bytes) in order and without loss; the marker None is usual space, which needs no token."""
    gaps = _Gaps(language)
    for gap, piece in _pieces(text, language):
        usual = bool(piece) and gaps.expected(piece) == gap
        if gap or not usual:
            yield (None if usual else GAP), gap
        if piece:
            yield PIECE, piece
            gaps.advance(gap, piece)


def _pieces(text: bytes, language: Language) -> Iterator[tuple[bytes, bytes]]:
    """(space before, piece) in order and without loss; space at the end of the text comes with an empty piece."""
    gap = b""
    for piece in language.lexer.findall(text):
        if piece[0] in SPACE:
            gap += piece
            continue
        yield gap, piece
        gap = b""
    if gap:
        yield gap, b""


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


# ------------------------------------------------------------------------------------ a pretrained model's tokenizer

UNUSED = re.compile("reserved|unused|extra_id")  # names of special tokens that no pretraining text has


class LexicalTokenizer(Tokenizer):
    """A Hugging Face `tokenizer.json`, run on each lexical piece with its leading space.

    A space right before a piece belongs to the piece's first token, as pretrained models know it (" return"); the rest
    of the space between two pieces (line ends, indentation) has tokens of its own. A piece that the tokenizer would
    not give back byte for byte (it normalizes Unicode, say) is spelled in single bytes. Text never becomes a special
    token, whatever its characters.

    `special` assigns ids to names of special tokens. A name that it leaves out takes a special token of that name, or
    else one that the vocabulary holds in reserve (`UNUSED`), or else an id after the last. Then come the bytes, in
    order, that the vocabulary has no token for.
    """

    kind = "lexical pieces"
    holds_space = True

    def __init__(self, source: str, language: Language, special: Mapping[str, int] | None = None) -> None:
        self.source, self.language = source, language
        _parse(source)
        description: dict[str, Any] = json.loads(source)
        added = {t["content"]: t["id"] for t in description["added_tokens"] if t["special"]}
        self.hf = _parse(json.dumps(_neutral(description)))
        vocabulary = {string: token for string, token in self.hf.get_vocab().items() if string not in added}
        base = 1 + max([*vocabulary.values(), *added.values()])
        self.special = _assign(special or {}, added, base)
        size = max(base, 1 + max(self.special.ids.values()))
        byte_level = "ByteLevel" in json.dumps([description["pre_tokenizer"], description["decoder"]])
        spelled = SPELL if byte_level else [f"<0x{byte:02X}>" for byte in range(256)]
        vocabulary |= dict(zip([string for string in spelled if string not in vocabulary], count(size)))
        self.size = max(size, 1 + max(vocabulary.values()))
        self._bytes = [b""] * self.size
        for string, token in vocabulary.items():
            self._bytes[token] = unspell(string) if byte_level else unspell_fallback(string)
        self._byte_tokens = [vocabulary[string] for string in spelled]
        self._cache: dict[bytes, tuple[int, ...]] = {}

    def save(self, path: Path) -> None:
        path.write_text(self.source, encoding="utf-8")

    def encode_with_spans(self, text: bytes) -> Spans:
        ids: list[int] = []
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        at = 0
        for gap, piece in _pieces(text, self.language):
            if piece and gap[-1:] == b" ":
                ids += self._encode_piece(gap[:-1])
                held = b" " + piece
            else:
                ids += self._encode_piece(gap)
                held = piece
            at += len(gap)
            if piece:
                starts[at] = len(ids)
                ids += self._encode_piece(held)
                at += len(piece)
                ends[at] = len(ids) - 1
        return ids, starts, ends

    def _encode_piece(self, piece: bytes) -> tuple[int, ...]:
        tokens = self._cache.get(piece)
        if tokens is None:
            try:
                tokens = tuple(self.hf.encode(piece.decode(), add_special_tokens=False).ids)
            except UnicodeDecodeError:
                tokens = ()
            if self.decode(tokens) != piece:
                tokens = tuple(self._byte_tokens[byte] for byte in piece)
            if len(self._cache) > CACHED_PIECES:
                self._cache.clear()
            self._cache[piece] = tokens
        return tokens

    def decode(self, ids: Iterable[int]) -> bytes:
        return b"".join([self._bytes[i] for i in ids])

    def token_bytes(self, token: int) -> bytes:
        return self._bytes[token]

    def readings(self, token: int) -> Iterable[tuple[Place, bytes]]:
        text = self._bytes[token]
        if text:
            yield from (("first", text), ("next", text), ("inside", text))
        if text[:1] == b" ":
            yield from (("first", text[1:]), ("next", text[1:]))


def _neutral(description: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer without all that adds to a text, cuts it, or finds special tokens in it."""

    def stripped(part: Any) -> Any:
        if isinstance(part, list):
            return [stripped(each) for each in part if not (isinstance(each, dict) and each.get("type") == "Prepend")]
        if not isinstance(part, dict):
            return part
        part = {key: stripped(value) for key, value in part.items()}
        if part.get("type") == "Prepend":
            return None
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = False
        if part.get("type") == "Metaspace":
            part["prepend_scheme"] = "never"
        return part

    steps = {name: stripped(description[name]) for name in ("normalizer", "pre_tokenizer")}
    nothing = dict.fromkeys(("post_processor", "truncation", "padding"))
    return (
        description | steps | nothing | {"added_tokens": [t for t in description["added_tokens"] if not t["special"]]}
    )


def _assign(special: Mapping[str, int], added: Mapping[str, int], base: int) -> SpecialTokens:
    """Ids of the special tokens in a vocabulary of `base` tokens, of which `added` are special."""
    ids = {name: added[name] for name in NAMES.values() if name in added} | dict(special)
    taken = set(ids.values())
    unused = sorted(token for name, token in added.items() if UNUSED.search(name) and token not in taken)
    free = chain(unused, count(max([base, *(token + 1 for token in taken)])))
    return SpecialTokens.named({name: ids[name] if name in ids else next(free) for name in NAMES.values()})


# The one table of tokenizers: how to make each from its file's text, the language, and the ids of the special tokens.
TOKENIZERS: dict[str, Callable[[str, Language, Mapping[str, int]], Tokenizer]] = {
    ImpliedSpaceTokenizer.kind: lambda source, language, special: ImpliedSpaceTokenizer.loads(source, language),
    LexicalTokenizer.kind: LexicalTokenizer,
}


def read_tokenizer(path: Path, language: Language) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, Kelp's own or any other. Raises OSError, EncodingError."""
    source = path.read_text(encoding="utf-8")
    bpe = _parse(source)
    if {PIECE, GAP, *NAMES.values()} <= bpe.get_vocab().keys():
        return ImpliedSpaceTokenizer(bpe, language)
    return LexicalTokenizer(source, language)


def _parse(source: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(source)
    except Exception as error:  # `tokenizers` raises plain Exception
        raise EncodingError(f"it is no tokenizer ({error})") from None
