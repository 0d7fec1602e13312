"""Any text comes back byte for byte, whatever the tokenizer; special tokens have the recipe's names."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.processors import TemplateProcessing

from kelp.encoding.byte_level import SPELL
from kelp.errors import KelpError
from kelp.lm.tokenizer import Special, Tokenizer

TEXT = ["def add(a, b):\n    return a + b\n", "# a comment, with words in it\n"] * 4
TRAINED = Tokenizer.train(TEXT, 300)


@given(st.text() | st.binary() | st.sampled_from(["\ud800", "<|mask|>", "a\udcffb", b"\xc3", "\r\n\t  x"]))
def test_any_text_comes_back(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    ids = TRAINED.encode(text)
    assert TRAINED.decode(ids) == data
    assert TRAINED.widths[ids].sum() == len(data)
    assert not {TRAINED.end, TRAINED.mask, TRAINED.pad} & set(ids)


def test_the_spelling_of_bytes_is_that_of_tokenizers() -> None:
    for byte in range(128):
        [(spelled, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(chr(byte))
        assert spelled == SPELL[byte]
    assert "".join(SPELL[byte] for byte in "é".encode()) == "Ã©"


def test_training_gives_the_size_and_the_special_tokens_asked_for_and_the_same_tokens_again() -> None:
    assert TRAINED.size <= 300
    assert [TRAINED.end, TRAINED.mask, TRAINED.pad] == [0, 1, 2]
    assert len(TRAINED.encode(TEXT[0])) < len(TEXT[0]) / 2
    assert Tokenizer.train(iter(TEXT), 300).fingerprint == TRAINED.fingerprint
    named = Tokenizer.train(TEXT, 300, Special("</s>", "<m>", "</s>"))
    assert (named.end, named.mask, named.pad) == (0, 1, 0)


def test_a_saved_tokenizer_loads_from_its_file_and_from_gpt2s_pair(tmp_path: Path) -> None:
    TRAINED.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merges.txt", "tokenizer.json", "vocab.json"]
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert Tokenizer.load(path).fingerprint == TRAINED.fingerprint
    (tmp_path / "tokenizer.json").unlink()
    pair = Tokenizer.load(tmp_path)
    assert pair.bpe.get_vocab() == TRAINED.bpe.get_vocab()
    assert [pair.encode(text) for text in TEXT] == TRAINED.encode_batch(TEXT)


def test_special_tokens_that_a_vocabulary_lacks_come_after_its_last(tmp_path: Path) -> None:
    TRAINED.save(tmp_path)
    other = Tokenizer.load(tmp_path, Special(mask="<|other|>"))
    assert (other.end, other.mask, other.size) == (TRAINED.end, TRAINED.size, TRAINED.size + 1)
    assert other.token_bytes[other.mask] == b""


def test_a_tokenizer_with_byte_fallback_and_a_space_before_the_text_is_read_without_that_space(tmp_path: Path) -> None:
    """As Llama 2 has it: "▁" for a space, one before every text, bytes as "<0x0A>", <s> put before."""
    characters = [*map(chr, range(33, 127)), "▁", "▁d", "de"]
    vocabulary = {string: i for i, string in enumerate([*(f"<0x{b:02X}>" for b in range(256)), *characters, "<s>"])}
    bpe = tokenizers.Tokenizer(BPE(vocabulary, [("▁", "d"), ("d", "e")], byte_fallback=True, unk_token=None))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bpe.add_special_tokens(["<s>"])
    bpe.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    bpe.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path, Special(end="<s>"))
    ids = loaded.encode("def d\né")
    assert [loaded.token_bytes[i] for i in ids] == [b"de", b"f", b" d", b"\n", b"\xc3", b"\xa9"]
    assert loaded.decode(loaded.encode(b"\xff d")) == b"\xff d"


def test_mistakes_have_their_sentence(tmp_path: Path) -> None:
    with pytest.raises(KelpError, match=r"there is no tokenizer .*nowhere: kelp lm tokenizer train makes one"):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(KelpError, match=r"is no tokenizer: "):
        Tokenizer.load(tmp_path)
    words = tokenizers.Tokenizer(WordLevel({"def": 0, "?": 1}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(KelpError, match="does not give a text back byte for byte"):
        Tokenizer.load(tmp_path)
    with pytest.raises(KelpError, match="a vocabulary of 258 is too small: bytes and special tokens alone take 259"):
        Tokenizer.train(TEXT, 258)
    with pytest.raises(ValueError, match="the mask token must not be the end-of-text or the padding token, got 'a'"):
        Special("a", "a")


def test_a_vocabulary_holds_no_private_settings(tmp_path: Path) -> None:
    """The file that is written is an ordinary tokenizer.json."""
    TRAINED.save(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    assert [token["content"] for token in description["added_tokens"]] == Special().names
    assert description["truncation"] is description["padding"] is None
