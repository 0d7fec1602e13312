"""Tokenizer: no byte is lost, pieces begin and end on tokens, training is deterministic."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tests.programs import HARD, PYTHON

from kelp.encoding.tokenizer import Tokenizer
from kelp.encoding.vocabulary import SPECIAL

TOKENIZER = Tokenizer.train([*HARD, b"f(1) == [2, 3]", b"Return the sum."] * 2, 500, PYTHON)
WORDS = r"""a bc _1 0.5 ( ) [ ] { } , : ; . = == -> ** - + \ # '' " """ + '""" \' ▁ ␣ é <doc> if not in'
SPACES = [" ", "  ", "\t", "\f", "\n", "\r\n", "\\\n", "\n    ", "\n\n        "]
CODE = st.lists(st.sampled_from([*WORDS.split(), *SPACES]), max_size=30).map(lambda words: "".join(words).encode())


@given(st.binary(max_size=60) | CODE)
def test_every_text_comes_back_byte_for_byte(text: bytes) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert all(len(SPECIAL) <= i < TOKENIZER.size for i in ids)


@pytest.mark.parametrize("text", HARD)
def test_whole_programs_come_back_byte_for_byte(text: bytes) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER.encode(text.replace(b"\n", b"\r\n"))) == text.replace(b"\n", b"\r\n")


@given(CODE)
def test_the_maps_lead_from_bytes_to_the_tokens_that_hold_them(text: bytes) -> None:
    ids, starts, ends = TOKENIZER.encode_with_spans(text)
    at = 0
    for piece in PYTHON.lexer.findall(text):
        if piece.strip(b" \t\r\n\f\\"):
            held = ids[starts[at] : ends[at + len(piece)] + 1]
            assert b"".join(map(TOKENIZER.token_bytes, held)) == piece
        at += len(piece)
    assert at == len(text)


def test_usual_space_costs_no_tokens_and_unusual_space_does() -> None:
    pieces = "a = b [ 1 ] + ( x , - y )"
    usual, unusual = b"a = b[1] + (x, -y)", b"a=b [1]+( x,- y)"
    length = {piece: len(TOKENIZER.encode(piece.encode())) for piece in pieces.split()}
    assert len(TOKENIZER.encode(usual)) == sum(length[piece] for piece in pieces.split())
    assert len(TOKENIZER.encode(unusual)) == len(TOKENIZER.encode(usual)) + 8


def test_special_tokens_write_nothing() -> None:
    ids = TOKENIZER.encode(b"x = 1")
    assert TOKENIZER.decode([0, 5, *ids, 8]) == b"x = 1"


def test_training_twice_gives_the_same_and_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    again = Tokenizer.train([*HARD, b"f(1) == [2, 3]", b"Return the sum."] * 2, 500, PYTHON)
    assert again.strings == TOKENIZER.strings and again.size == 500
    TOKENIZER.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json", PYTHON)
    assert loaded.strings == TOKENIZER.strings
    assert all(loaded.encode(text) == TOKENIZER.encode(text) == again.encode(text) for text in HARD)


def test_a_tokenizer_of_somebody_else_is_refused(tmp_path: Path) -> None:
    other = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"not one of Kelp's"):
        Tokenizer.load(tmp_path / "tokenizer.json", PYTHON)
