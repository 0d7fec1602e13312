"""Programs written from a signature and a docstring, to be run by their tests (Chen et al. 2021, arXiv 2107.03374)."""

import ast
from collections.abc import Sequence

from kelp.lm.config import DiffusionConfig
from kelp.lm.infill import Function, permitted, slots_of
from kelp.lm.sampler import SampleConfig, prompt_row, sample
from kelp.lm.tokenizer import Tokenizer
from kelp.model.transformer import Transformer

ROWS = 16  # written together


def header_of(function: str) -> str | None:
    """A function's text up to its body: decorators, signature and docstring; None where it has no docstring."""
    node = ast.parse(function).body[-1]
    if not isinstance(node, Function) or ast.get_docstring(node, clean=False) is None:
        return None
    lines = function.encode().split(b"\n")
    line, column = node.body[0].end_lineno, node.body[0].end_col_offset
    assert line is not None
    return b"\n".join([*lines[: line - 1], lines[line - 1][:column]]).decode()


def write_programs(
    model: Transformer,
    cfg: DiffusionConfig,
    tokenizer: Tokenizer,
    headers: Sequence[str],
    how: SampleConfig,
    *,
    count: int,
    tokens: int,
) -> list[list[str]]:
    """`count` programs of each header, with at most `tokens` more. Raises ValueError where a setting makes no sense."""
    rows = [prompt_row(cfg, tokenizer.encode(header), tokens) for header in headers]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    allowed = permitted(model.cfg.vocab_size, tokenizer.size, None)
    written: list[list[str]] = [[] for _ in rows]
    step = max(1, ROWS // count)
    for first in range(0, len(order), step):
        batch = order[first : first + step]
        repeated = [rows[i] for i in batch for _ in range(count)]
        filler = [[cfg.end]] * (step * count - len(repeated))
        drawn = sample(model, cfg, repeated + filler, how, allowed, slots=slots_of(max(map(len, repeated))))
        for number, row in enumerate(repeated):
            i = batch[number // count]
            start = len(row) - tokens
            text = tokenizer.decode(drawn.tokens[number, start : drawn.lengths[number]].tolist())
            written[i].append(headers[i] + _body(text.decode("utf-8", "replace")) + "\n")
    return written


def _body(completion: str) -> str:
    """The completion up to the first line that is not indented, where something else begins."""
    head, *lines = completion.split("\n")
    end = next((i for i, line in enumerate(lines) if line.strip() and not line[0].isspace()), len(lines))
    return "\n".join([head, *lines[:end]]).rstrip()
