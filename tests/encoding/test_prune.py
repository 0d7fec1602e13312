"""Smaller vocabularies: no byte is lost, and texts of kept tokens are spelled as before."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kelp.encoding.byte_level import SPELL
from kelp.encoding.prune import prune
from kelp.errors import KelpError
from kelp.lm.tokenizer import Tokenizer as LmTokenizer

TEXT = "def median(data):\n    data = sorted(data)\n    return data[len(data) // 2]\n" * 3 + "naïve café 1234\n" * 3


def trained():
    """A small tokenizer without control characters among its tokens, whose special tokens come first."""
    bpe = Tokenizer(BPE())
    split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Sequence(split), decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<unused>"], initial_alphabet=SPELL[32:], show_progress=False
    )
    bpe.train_from_iterator([TEXT], trainer)
    bpe.add_tokens([AddedToken("<extra>", special=True)])
    return bpe


BPE_ALL = trained()


def without_special(source):
    tokenizer = Tokenizer.from_str(source)
    tokenizer.encode_special_tokens = True
    return tokenizer


SAMPLE = "data = sorted(data)\n"
PRUNED = prune(BPE_ALL.to_str(), BPE_ALL.encode(SAMPLE).ids)
CUT = LmTokenizer(Tokenizer.from_str(PRUNED.source))


@settings(max_examples=50)
@given(st.text() | st.lists(st.sampled_from(SAMPLE.split(" ") + [" ", "\n", "<unused>", "\x04"])).map("".join))
def test_every_text_comes_back_byte_for_byte(text):
    data = text.encode("utf-8", "replace")
    assert CUT.decode(CUT.encode(data.decode())) == data


@settings(max_examples=50)
@given(st.binary())
def test_so_do_bytes_that_are_no_text(data):
    assert CUT.decode(CUT.encode(data)) == data


@given(st.text(st.sampled_from("dataorse =()\n1")))
def test_a_text_that_the_old_tokenizer_spells_with_kept_tokens_is_spelled_the_same(text):
    old = BPE_ALL.encode(text).ids
    if set(old) <= set(PRUNED.kept):
        new = without_special(PRUNED.source).encode(text).ids
        assert [PRUNED.kept[token] for token in new] == old


def test_used_tokens_their_parts_special_tokens_and_all_bytes_stay():
    strings = list(json.loads(PRUNED.source)["model"]["vocab"])
    assert BPE_ALL.encode(SAMPLE).tokens == without_special(PRUNED.source).encode(SAMPLE).tokens
    assert set(SPELL) | {"<|endoftext|>", "<unused>"} <= set(strings)
    assert PRUNED.used == len(set(BPE_ALL.encode(SAMPLE).ids)) and PRUNED.passed > 0
    assert PRUNED.new_bytes == sum(character not in BPE_ALL.get_vocab() for character in SPELL) > 0
    assert len(PRUNED.kept) < BPE_ALL.get_vocab_size()
    loaded = Tokenizer.from_str(PRUNED.source)
    assert loaded.get_vocab_size() == len(PRUNED.kept)
    for string in ("<|endoftext|>", "<unused>", "<extra>", "data"):
        assert PRUNED.kept[loaded.token_to_id(string)] == BPE_ALL.token_to_id(string)


def test_special_tokens_of_a_template_follow_their_tokens():
    content = json.loads(BPE_ALL.to_str())
    extra = BPE_ALL.token_to_id("<extra>")
    named = {"<extra>": {"id": "<extra>", "ids": [extra], "tokens": ["<extra>"]}}
    single = [{"SpecialToken": {"id": "<extra>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    content["post_processor"] = {
        "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": named
    }  # fmt: skip
    cut = prune(json.dumps(content), BPE_ALL.encode(SAMPLE).ids)
    tokenizer = Tokenizer.from_str(cut.source)
    assert tokenizer.encode("data").ids == [tokenizer.token_to_id("<extra>"), tokenizer.token_to_id("data")]


def test_another_kind_of_tokenizer_is_refused():
    with pytest.raises(KelpError, match="the vocabulary of a byte-level BPE alone can be cut"):
        prune(Tokenizer(BPE()).to_str(), [])
