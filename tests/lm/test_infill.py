import textwrap

import jax
import pytest

from kelp.lm.config import DiffusionConfig
from kelp.lm.infill import Task, draw_tasks, fill, fitting, functions_of, hole, score
from kelp.lm.sampler import SampleConfig
from kelp.lm.tokenizer import Tokenizer
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer

FILE = textwrap.dedent('''
    import os

    class Box:
        @property
        def size(self):
            """Number of things."""
            # counted each time
            text = """a
            b"""
            return len(self.things) + 1

    def outer(x):
        def inner(y):
            return y
        return inner(x)
''')


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([FILE] * 3, 300)


def spans(kind: str, function: str) -> set[bytes]:
    """Every hole of a kind that some seed draws."""
    tasks = (next(draw_tasks([function], kind, seed), None) for seed in range(60))
    return {task.text[task.start : task.end] for task in tasks if task is not None}


def test_functions_of_a_file_are_its_outermost_ones_dedented() -> None:
    size, outer = functions_of(FILE)
    assert size.startswith("@property\ndef size(self):\n    ") and outer.startswith("def outer(x):\n    def inner")
    assert list(functions_of(size)) == [size]
    assert list(functions_of("no python")) == []


def test_lines_and_expressions_are_drawn_from_the_body_alone() -> None:
    size, outer = functions_of(FILE)
    assert spans("line", size) == {b'text = """a', b"return len(self.things) + 1"}
    assert spans("line", outer) == {b"def inner(y):", b"return y", b"return inner(x)"}
    assert spans("expression", size) == {b"len(self.things) + 1", b"len(self.things)", b"self.things"}
    assert spans("line", "def f(): return 1\n") == set()


def test_a_body_follows_signature_and_docstring() -> None:
    size, outer = functions_of(FILE)
    [body] = spans("body", size)
    assert body.startswith(b'text = """a') and size.encode().endswith(body + b"\n")
    assert spans("body", outer) == set()  # no docstring


def test_tasks_depend_on_the_seed_alone_and_are_one_of_each_function() -> None:
    functions = [f"def f{i}(x):\n    return g(x, {i})\n" for i in range(20)]
    first = list(draw_tasks(functions, "line", 3))
    assert first == list(draw_tasks(functions, "line", 3)) and len({task.text for task in first}) == 20
    assert first != list(draw_tasks(functions, "line", 4))


def test_a_hole_is_widened_to_whole_tokens(tokenizer: Tokenizer) -> None:
    text = next(functions_of(FILE)).encode()
    for start in range(0, len(text) - 9, 7):
        found = hole(Task("line", text, start, start + 9), tokenizer)
        before, inside = (tokenizer.decode(part) for part in (found.tokens[: found.first], found.tokens[found.first :]))
        assert len(before) <= start and (before + inside) == text
        assert text[start : start + 9] in tokenizer.decode(found.tokens[found.first : found.last])
        narrower = tokenizer.decode(found.tokens[found.first + 1 : found.last])
        assert text[start : start + 9] not in narrower or len(narrower) >= 9


def test_holes_beyond_the_window_or_too_large_are_left_out(tokenizer: Tokenizer) -> None:
    functions = ["def f(x):\n    return g(x)\n", "def f(x):\n" + "    x = g(x, x, x, x)\n" * 30]
    tasks = list(draw_tasks(functions, "line", 0))
    [[kept]] = fitting(tasks, [tokenizer], window=20, most=64)
    assert kept.task.text == functions[0].encode()
    assert not list(fitting(tasks, [tokenizer], window=900, most=1))


def test_a_fill_is_exact_up_to_white_space_at_its_end(tokenizer: Tokenizer) -> None:
    text = b"def f(x):\n    return x\n"
    found = hole(Task("line", text, text.index(b"return"), len(text) - 1), tokenizer)
    truth = tokenizer.decode(found.tokens[found.first : found.last])
    assert score(found, truth, tokenizer) == (True, True)
    assert score(found, truth + b"  \n", tokenizer) == (True, True)
    assert score(found, truth + b" + 1", tokenizer) == (False, True)
    assert score(found, truth + b" +", tokenizer) == (False, False)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    sizes = TransformerConfig(vocab_size=tokenizer.size, dim=16, layers=1, heads=2, kv_heads=1, mlp_dim=24)
    return Transformer.init(sizes, key=jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 8, 0])
def test_every_hole_is_filled_and_no_fill_depends_on_the_batch(
    tokenizer: Tokenizer, model: Transformer, block: int
) -> None:
    cfg = DiffusionConfig(mask=tokenizer.mask, end=tokenizer.end, pad=tokenizer.pad, block=8)
    functions = [f"def f(x):\n    y = {'x + ' * i}1\n    return y\n" for i in range(5)]
    holes = [found[0] for found in fitting(draw_tasks(functions, "line", 1), [tokenizer], window=60, most=40)]
    how, done = SampleConfig(block=block), []
    fills = fill(model, cfg, tokenizer, holes, window=60, how=how, progress=done.append)
    assert done[-1] == len(holes) == 5 and all(each.passes >= 1 for each in fills)
    assert fills[2].text == fill(model, cfg, tokenizer, holes[2:3], window=60, how=how)[0].text
    with pytest.raises(ValueError, match="beyond the window of 4"):
        fill(model, cfg, tokenizer, holes, window=4, how=how)


@pytest.mark.slow
def test_left_to_right_sees_the_text_before_the_hole_alone(tokenizer: Tokenizer, model: Transformer) -> None:
    cfg = DiffusionConfig(mask=tokenizer.mask, end=tokenizer.end, pad=tokenizer.pad, block=0)
    texts = [b"def f(x):\n    y = x\n    return y\n", b"def f(x):\n    y = x\n    z = 1\n    print(z)\n"]
    holes = [hole(Task("expression", text, text.index(b"x\n "), text.index(b"x\n ") + 1), tokenizer) for text in texts]
    left = fill(model, cfg, tokenizer, holes, window=60, how=SampleConfig(block=1))
    assert left[0].text == left[1].text
