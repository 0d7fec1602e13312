"""Infilling: functions with a hole in them, filled by a model and compared with the text that stood there.

The hole of a task is a line, an expression or a whole body, widened to whole tokens of the function, so that a model
reads the tokens that it was trained on. It has as many masks as the truth has tokens. By diffusion, a fill sees the
text on both sides, as far as the model's blocks let it. From left to right, it sees the text before the hole alone, and
ends with the truth's number of tokens, the end-of-text token or, for a line, a line break.
"""

import ast
import random
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from kelp.lm.config import DiffusionConfig
from kelp.lm.sampler import Allowed, SampleConfig, sample
from kelp.lm.tokenizer import Tokenizer
from kelp.model.transformer import Transformer

Kind = Literal["line", "expression", "body"]
Function = ast.FunctionDef | ast.AsyncFunctionDef
Span = tuple[int, int]
Progress = Callable[[int], None]  # called with the number of rows done

BATCH_TOKENS = 512  # predicted in one pass: larger batches hold holes of more different sizes
MOST_ROWS = 16
LEAST_SLOTS = 64


class Task(NamedTuple):
    """A function, and the bytes of it that are to be filled in."""

    kind: Kind
    text: bytes
    start: int
    end: int


class Hole(NamedTuple):
    """A task in tokens."""

    task: Task
    tokens: list[int]  # of the whole function
    first: int  # of the tokens to fill in
    last: int  # the one after them

    def __len__(self) -> int:
        return self.last - self.first


class Fill(NamedTuple):
    """Text that a model put into a hole, and the passes of the network that it took."""

    text: bytes
    passes: int


class Score(NamedTuple):
    exact: bool  # the truth, up to white space at its end
    parses: bool  # the function around it


def functions_of(text: str) -> Iterator[str]:
    """The functions and methods of a Python file, dedented; one within another belongs to that one."""
    tree = _parse(text)
    lines = text.splitlines(keepends=True)
    nodes: list[ast.AST] = [] if tree is None else [tree]
    while nodes:
        node = nodes.pop(0)
        if not isinstance(node, Function):
            nodes[:0] = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            continue
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        source = textwrap.dedent("".join(lines[first - 1 : node.end_lineno])).rstrip() + "\n"
        if _parse(source) is not None:
            yield source


def draw_tasks(functions: Sequence[str], kind: Kind, seed: int) -> Iterator[Task]:
    """One task of each function that has any, in random order: a place drawn from all of its places of this kind.

    Lines are those of the body after the docstring that hold a letter or digit and no comment or part of a longer
    string alone. Expressions are all but lone names and constants, and those within f-strings. A body is what follows
    signature and docstring, where there is a docstring.
    """
    rng = random.Random(f"{seed} {kind}")
    for function in rng.sample(functions, len(functions)):
        text = function.encode()
        tree = _parse(function)
        if tree is None or not tree.body or not isinstance(node := tree.body[-1], Function):
            continue
        if spans := list(SPANS[kind](text, node)):
            yield Task(kind, text, *rng.choice(spans))


def _lines(text: bytes, node: Function) -> Iterator[Span]:
    starts = _line_starts(text)
    within = {  # lines that begin inside a string
        line
        for each in ast.walk(node)
        if isinstance(each, ast.Constant | ast.JoinedStr) and each.end_lineno is not None
        for line in range(each.lineno + 1, each.end_lineno + 1)
    }
    body = _statements(node)
    for line in range(body[0].lineno, (body[-1].end_lineno or 0) + 1) if body else ():
        code = text[starts[line - 1] : starts[line]]
        bare = code.strip()
        if line in within or bare.startswith(b"#") or not any(chr(c).isalnum() for c in bare):
            continue
        start = starts[line - 1] + len(code) - len(code.lstrip())
        if start > starts[line - 1]:  # one on the line of the signature has no line of its own
            yield start, start + len(bare)


def _expressions(text: bytes, node: Function) -> Iterator[Span]:
    starts = _line_starts(text)
    nodes: list[ast.AST] = [*_statements(node)]
    while nodes:
        each = nodes.pop()
        if isinstance(each, ast.JoinedStr):
            continue  # the places of its parts are those of the string in Python 3.11
        nodes += ast.iter_child_nodes(each)
        plain = isinstance(each, ast.Name | ast.Constant | ast.Starred | ast.Slice)
        stored = isinstance(getattr(each, "ctx", None), ast.Store | ast.Del)
        if isinstance(each, ast.expr) and not plain and not stored:
            yield _span(starts, each, each)


def _bodies(text: bytes, node: Function) -> Iterator[Span]:
    starts, body = _line_starts(text), _statements(node)
    if body and len(body) < len(node.body):
        yield _span(starts, body[0], body[-1])


SPANS: dict[Kind, Callable[[bytes, Function], Iterator[Span]]] = {
    "line": _lines,
    "expression": _expressions,
    "body": _bodies,
}


def _statements(node: Function) -> list[ast.stmt]:
    """The body without its docstring."""
    return node.body[ast.get_docstring(node, clean=False) is not None :]


def _span(starts: Sequence[int], first: ast.stmt | ast.expr, last: ast.stmt | ast.expr) -> Span:
    assert last.end_lineno is not None and last.end_col_offset is not None
    return starts[first.lineno - 1] + first.col_offset, starts[last.end_lineno - 1] + last.end_col_offset


def _line_starts(text: bytes) -> list[int]:
    return [0, *(i + 1 for i, byte in enumerate(text) if byte == ord("\n")), len(text)]


def _parse(text: str | bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def hole(task: Task, tokenizer: Tokenizer) -> Hole:
    """The task in tokens: all those that hold a byte of its span are to be filled in."""
    tokens = tokenizer.encode(task.text.decode())
    edges = np.cumsum([0, *tokenizer.widths[tokens]])
    first = int(np.searchsorted(edges, task.start, side="right")) - 1
    return Hole(task, tokens, first, int(np.searchsorted(edges, task.end, side="left")))


def fill(
    model: Transformer,
    cfg: DiffusionConfig,
    tokenizer: Tokenizer,
    holes: Sequence[Hole],
    *,
    window: int,
    how: SampleConfig = SampleConfig(),
    progress: Progress = lambda done: None,
) -> list[Fill]:
    """Fill every hole: by diffusion, or with blocks of one token from left to right.

    The text is cut after `window` tokens. Rows of about one length and with holes of about one size share a batch, and
    few programs are compiled; the fills do not depend on the batch. Raises ValueError where a hole lies beyond the cut.
    """
    cfg = cfg if how.block is None else replace(cfg, block=how.block)
    rows = [_row(each, cfg, window) for each in holes]
    order = sorted(range(len(holes)), key=lambda i: (slots_of(len(rows[i])), _by_block(holes[i], cfg.block)))
    fills: list[Fill] = [Fill(b"", 0)] * len(holes)
    allowed = permitted(model.cfg.vocab_size, tokenizer.size, None if cfg.block == 1 else cfg.end)
    done = 0
    while done < len(order):
        slots = slots_of(len(rows[order[done]]))
        most = max(1, min(MOST_ROWS, BATCH_TOKENS // (cfg.block or slots)))
        batch = [i for i in order[done : done + most] if slots_of(len(rows[i])) == slots]
        filler = [[cfg.end]] * (most - len(batch))  # so that all batches of this length share a program
        drawn = sample(model, cfg, [rows[i] for i in batch] + filler, how, allowed, slots=slots)
        for row, i in enumerate(batch):
            start = 1 + holes[i].first
            written = drawn.tokens[row, start : min(start + len(holes[i]), drawn.lengths[row])]
            text = tokenizer.decode(written.tolist())
            if cfg.block == 1 and holes[i].task.kind == "line":
                text = text.partition(b"\n")[0]
            fills[i] = Fill(text, int(drawn.passes[row]))
        done += len(batch)
        progress(done)
    return fills


def _row(hole: Hole, cfg: DiffusionConfig, window: int) -> list[int]:
    """The tokens of a hole's function as far as a fill depends on them: to the end of the block in which it ends."""
    if 1 + hole.last > window:
        raise ValueError(f"a hole ends at token {hole.last}, beyond the window of {window}")
    row = [cfg.end, *hole.tokens[: hole.first], *[cfg.mask] * len(hole), *hole.tokens[hole.last :], cfg.end]
    seen = 1 + -(-hole.last // cfg.block) * cfg.block if cfg.block else len(row)
    return row[: min(seen, window)]


def _by_block(hole: Hole, block: int) -> list[int]:
    """The number of tokens to fill in of each block: rows in which they are alike take about as many passes."""
    edges = range(hole.first // block * block, hole.last, block) if block else [hole.first]
    counts = [min(hole.last, edge + (block or hole.last)) - max(hole.first, edge) for edge in edges]
    return [len(counts), *counts]


@cache  # one object for all calls, so that one program is compiled
def permitted(vocab_size: int, known: int, end: int | None) -> Allowed:
    """The tokens of the tokenizer, of which a larger vocabulary has more, without end-of-text within a text."""
    tokens = np.arange(vocab_size)
    fits = (tokens < known) & (tokens != end)
    return lambda row, position: jnp.asarray(fits)


def slots_of(length: int) -> int:
    """The length that a row is padded to: 64, 128, 192, 256, 384, 512, 768 ..., so that few shapes are compiled."""
    power = max(LEAST_SLOTS, 1 << (length - 1).bit_length())
    return 3 * power // 4 if length <= 3 * power // 4 and power > 2 * LEAST_SLOTS else power


def score(hole: Hole, filled: bytes, tokenizer: Tokenizer) -> Score:
    """Compare a fill with the truth, and parse the whole function with it."""
    before, truth, after = (
        tokenizer.decode(part)
        for part in (hole.tokens[: hole.first], hole.tokens[hole.first : hole.last], hole.tokens[hole.last :])
    )
    return Score(filled.rstrip() == truth.rstrip(), _parse(before + filled + after) is not None)


def fitting(tasks: Iterable[Task], tokenizers: Sequence[Tokenizer], *, window: int, most: int) -> Iterator[list[Hole]]:
    """The holes of each task, one for each tokenizer, where all have at most `most` tokens and end within the window.

    A function that a tokenizer cannot spell raises KelpError.
    """
    for task in tasks:
        holes = [hole(task, tokenizer) for tokenizer in tokenizers]
        if all(len(each) <= most and 1 + each.last <= window for each in holes):
            yield holes
