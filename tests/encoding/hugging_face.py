"""Small tokenizers as pretrained models have them, trained on the spot."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kelp.encoding.tokenizer import LexicalTokenizer
from kelp.languages.python.grammar import PYTHON


def byte_level(texts: Iterable[bytes], size: int = 1000, special: Iterable[str] = ("<|endoftext|>",)) -> str:
    """The tokenizer.json of a byte-level BPE in the manner of GPT-2, Llama 3 and SmolLM2."""
    bpe = tokenizers.Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator((text.decode() for text in texts), trainer)
    return bpe.to_str()


def byte_fallback(texts: Iterable[bytes], size: int = 1000) -> str:
    """The tokenizer.json of a BPE over characters with byte fallback, in the manner of SentencePiece and Llama 2."""
    bpe = tokenizers.Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = BpeTrainer(vocab_size=size, special_tokens=special, limit_alphabet=60, show_progress=False)
    bpe.train_from_iterator((text.decode() for text in texts), trainer)
    return bpe.to_str()


def lexical(texts: Iterable[bytes], size: int = 1000) -> LexicalTokenizer:
    return LexicalTokenizer(byte_level(texts, size), PYTHON)
