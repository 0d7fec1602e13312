import jax
import pytest

from kelp.lm.config import DiffusionConfig
from kelp.lm.programs import _body, header_of, write_programs
from kelp.lm.sampler import SampleConfig
from kelp.lm.tokenizer import Tokenizer
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer

DOUBLE = '@cache\ndef double(\n    x,\n):\n    """Twice é."""\n    return 2 * x\n'


def test_a_header_ends_with_the_docstring() -> None:
    assert header_of(DOUBLE) == DOUBLE[: DOUBLE.index("\n    return")]
    assert header_of("def f(x):\n    return x\n") is None


def test_a_program_ends_where_something_else_begins() -> None:
    assert _body("\n    return x\n\n    # so\nprint(f(1))\n    y") == "\n    return x\n\n    # so"
    assert _body("  # trailing\n    return x") == "  # trailing\n    return x"
    assert _body("") == ""


@pytest.mark.slow
def test_each_header_gets_programs_of_its_own() -> None:
    tokenizer = Tokenizer.train([DOUBLE] * 3, 280)
    sizes = TransformerConfig(vocab_size=tokenizer.size, dim=16, layers=1, heads=2, kv_heads=1, mlp_dim=24)
    model = Transformer.init(sizes, key=jax.random.key(0))
    cfg = DiffusionConfig(mask=tokenizer.mask, end=tokenizer.end, pad=tokenizer.pad, block=4)
    headers, how = ["def f():\n    'a'", "def g(x, y):\n    'b'"], SampleConfig(temperature=1.0, steps=1)
    written = write_programs(model, cfg, tokenizer, headers, how, count=9, tokens=8)
    assert all(len(set(texts)) > 1 and len(texts) == 9 for texts in written)
    assert all(text.startswith(header) for header, texts in zip(headers, written) for text in texts)
    assert written[1] == write_programs(model, cfg, tokenizer, headers[1:], how, count=9, tokens=8)[0]
