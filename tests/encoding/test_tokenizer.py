"""Tokenizers: no byte is lost, pieces begin and end on tokens, special tokens have names and no fixed ids."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tests.encoding.hugging_face import byte_fallback, byte_level, lexical
from tests.programs import HARD, PYTHON

from kelp.encoding.tokenizer import ImpliedSpaceTokenizer, LexicalTokenizer, Tokenizer, read_tokenizer
from kelp.encoding.vocabulary import NAMES, EncodingError

TEXTS = [*HARD, b"f(1) == [2, 3]", b"Return the sum."] * 2
OURS = ImpliedSpaceTokenizer.train(TEXTS, 500, PYTHON)
TOKENIZERS = {
    "ours": OURS,
    "byte-level": lexical(TEXTS),
    "byte fallback": LexicalTokenizer(byte_fallback(TEXTS), PYTHON),
}
WORDS = (
    r"""a bc _1 0.5 ( ) [ ] { } , : ; . = == -> ** - + \ # '' " """ + '""" \' ▁ ␣ é <doc> if not <|endoftext|> <0x41>'
)
SPACES = [" ", "  ", "\t", "\f", "\n", "\r\n", "\\\n", "\n    ", "\n\n        "]
CODE = st.lists(st.sampled_from([*WORDS.split(), *SPACES]), max_size=30).map(lambda words: "".join(words).encode())
each = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


@each
@given(text=st.binary(max_size=60) | CODE)
def test_every_text_comes_back_byte_for_byte(tokenizer: Tokenizer, text: bytes) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.size for i in ids) and not set(ids) & set(tokenizer.special.ids.values())


@each
@pytest.mark.parametrize("text", HARD)
def test_whole_programs_come_back_byte_for_byte(tokenizer: Tokenizer, text: bytes) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text.replace(b"\n", b"\r\n"))) == text.replace(b"\n", b"\r\n")


@each
@given(text=CODE)
def test_the_maps_lead_from_bytes_to_the_tokens_that_hold_them(tokenizer: Tokenizer, text: bytes) -> None:
    ids, starts, ends = tokenizer.encode_with_spans(text)
    at = 0
    for piece in PYTHON.lexer.findall(text):
        if piece.strip(b" \t\r\n\f\\"):
            held = b"".join(map(tokenizer.token_bytes, ids[starts[at] : ends[at + len(piece)] + 1]))
            space = b" " if tokenizer.holds_space and text[:at].endswith(b" ") else b""
            assert held == space + piece
        at += len(piece)
    assert at == len(text)


def test_usual_space_costs_no_tokens_and_unusual_space_does() -> None:
    pieces = "a = b [ 1 ] + ( x , - y )"
    usual, unusual = b"a = b[1] + (x, -y)", b"a=b [1]+( x,- y)"
    length = {piece: len(OURS.encode(piece.encode())) for piece in pieces.split()}
    assert len(OURS.encode(usual)) == sum(length[piece] for piece in pieces.split())
    assert len(OURS.encode(unusual)) == len(OURS.encode(usual)) + 8


def test_a_space_before_a_piece_belongs_to_it_and_other_space_has_tokens_of_its_own() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    ids, starts, _ = tokenizer.encode_with_spans(b"if a:\n    return a")
    texts = [tokenizer.token_bytes(i) for i in ids]
    assert texts[starts[10]].startswith(b" ret") and texts[starts[3]] == b" a"
    assert b"".join(texts[: starts[10]]) == b"if a:\n   "


@each
def test_special_tokens_write_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(b"x = 1")
    special = tokenizer.special
    assert tokenizer.decode([special.pad, special.program, *ids, special.end]) == b"x = 1"
    assert all(tokenizer.token_bytes(token) == b"" for token in special.ids.values())


def test_special_tokens_take_the_reserved_ones_of_a_vocabulary_and_then_ids_after_the_last() -> None:
    source = byte_level(TEXTS, special=["<|endoftext|>", "<mask>", "<|reserved_0|>", "<|reserved_1|>"])
    tokenizer = LexicalTokenizer(source, PYTHON)
    base = json.loads(source)["model"]["vocab"]
    ids = tokenizer.special.ids
    assert (ids["<mask>"], ids["<pad>"], ids["<intent>"]) == (1, 2, 3)
    others = [ids[name] for name in NAMES.values() if name not in ("<mask>", "<pad>", "<intent>")]
    assert others == list(range(len(base), len(base) + 8)) and tokenizer.size == len(base) + 8


def test_special_tokens_may_be_chosen_by_name() -> None:
    tokenizer = LexicalTokenizer(byte_level(TEXTS, special=["<|endoftext|>", "<gh_stars>"]), PYTHON, {"<mask>": 1})
    assert tokenizer.special.mask == 1 and tokenizer.special.pad == len(json.loads(tokenizer.source)["model"]["vocab"])
    again = LexicalTokenizer(tokenizer.source, PYTHON, special=tokenizer.special.ids)
    assert (again.special, again.size) == (tokenizer.special, tokenizer.size)


def test_bytes_that_a_vocabulary_lacks_get_tokens() -> None:
    description = json.loads(byte_level(TEXTS))
    vocabulary = description["model"]["vocab"]
    lacking = [string for string in ("ÿ", "þ") if vocabulary.pop(string, None) is not None]
    tokenizer = LexicalTokenizer(json.dumps(description), PYTHON)
    assert len(lacking) == 2
    assert tokenizer.decode(tokenizer.encode(b"'\xfe\xff'")) == b"'\xfe\xff'"
    assert max(tokenizer.encode(b"'\xfe\xff'")) == tokenizer.size - 1 > max(tokenizer.special.ids.values())


def test_text_that_normalization_would_change_comes_back() -> None:
    description = json.loads(byte_level(TEXTS)) | {"normalizer": {"type": "NFKC"}}
    tokenizer = LexicalTokenizer(json.dumps(description), PYTHON)
    text = "x = 'ﬁ ² e\u0301'".encode()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_twice_gives_the_same_and_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    again = ImpliedSpaceTokenizer.train(TEXTS, 500, PYTHON)
    assert again.bpe.to_str() == OURS.bpe.to_str() and again.size == 500
    for tokenizer in TOKENIZERS.values():
        tokenizer.save(tmp_path / "tokenizer.json")
        loaded = read_tokenizer(tmp_path / "tokenizer.json", PYTHON)
        assert (type(loaded), loaded.size, loaded.special) == (type(tokenizer), tokenizer.size, tokenizer.special)
        assert all(loaded.encode(text) == tokenizer.encode(text) for text in HARD)


def test_a_tokenizer_of_somebody_else_is_not_taken_for_one_of_ours() -> None:
    other = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    with pytest.raises(EncodingError, match=r"not one of Kelp's: it has no token '<pad>'"):
        ImpliedSpaceTokenizer(other, PYTHON)
    with pytest.raises(EncodingError, match="it is no tokenizer"):
        LexicalTokenizer("{}", PYTHON)
