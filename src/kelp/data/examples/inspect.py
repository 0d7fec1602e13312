"""Training examples for a person to read, and figures of a data set."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from kelp.data.examples.make import Draw, ExampleMaker, NoExample, Start
from kelp.data.examples.shards import Bucket
from kelp.diffusion.diff import next_edits, shortest_path
from kelp.encoding.batch import Example
from kelp.encoding.encoder import Encoder
from kelp.execution.observation import Observation, TestOutcome
from kelp.syntax.program import Program

Rows = list[dict[str, Any]]  # of a table, by column; a float is a share, except for a mean


@dataclass(frozen=True)
class Step:
    """An edit on the path back; offsets are bytes of the state that it applies to."""

    start: int
    end: int
    line: int
    old: str
    new: str


@dataclass(frozen=True)
class Target:
    """A correct first edit."""

    line: int
    op: str
    category: str
    old: str
    new: str
    written: bool  # whether the example holds its text, or only its site


@dataclass(frozen=True)
class Token:
    """A token of the prefix; `mark` says that a correct site holds it or is right before it."""

    text: str
    special: bool
    mark: Literal["", "site", "insert"]


@dataclass(frozen=True)
class Test:
    name: str
    status: str  # as in an observation, or "not run"
    message: str

    __test__ = False  # pytest must not collect it


@dataclass(frozen=True)
class View:
    """One example, or the reason why there is none."""

    index: int
    dropped: str | None
    origin: str = ""
    name: str = ""
    start: str = ""
    kinds: tuple[str, ...] = ()  # of its mutations
    clean: str = ""
    state: str = ""
    path: tuple[Step, ...] = ()
    targets: tuple[Target, ...] = ()
    sees: tuple[Token, ...] = ()
    tests: tuple[Test, ...] = ()
    breaks: bool | None = None  # whether a broken program fails a test; None where no test was run
    shows: tuple[str, ...] = ()  # of intent, spec, observation
    prefix: int = 0  # tokens
    suffix: int = 0
    edits: int = 0  # written out


def view(maker: ExampleMaker, index: int) -> View:
    """Example number `index` as training has it, with its material."""
    try:
        draw = maker.draw(index)
    except NoExample as why:
        return View(index, str(why))
    example, reason = None, None
    try:
        example = maker.encode(draw)
    except NoExample as why:
        reason = str(why)
    condition, broken = draw.condition, draw.start != "stop"
    parts = {"intent": condition.intent, "spec": condition.asserts, "observation": condition.observation}
    return View(
        index, reason, draw.record.origin, draw.record.name, draw.start, tuple(m.kind for m in draw.mutations),
        _text(draw.clean.source), _text(draw.state.source), tuple(_path(draw.state, draw.clean)),
        tuple(_targets(draw, example, maker.encoder)),
        tuple(_tokens(example, maker.encoder)) if example else (),
        tuple(_tests(draw.record.asserts, draw.observation)),
        None if draw.observation is None or not broken else not draw.observation.ok,
        tuple(part for part, shown in parts.items() if shown),
        len(example.tokens) if example else 0, example.suffix if example else 0, len(example.edits) if example else 0,
    )  # fmt: skip


def _path(state: Program, clean: Program) -> Iterable[Step]:
    source = state.source
    for edit in shortest_path(state, clean):
        old = _text(source[edit.start : edit.end])
        yield Step(edit.start, edit.end, source.count(b"\n", 0, edit.start) + 1, old, _text(edit.text))
        source = edit.apply(source)


def _targets(draw: Draw, example: Example | None, encoder: Encoder) -> Iterable[Target]:
    texts = [] if example is None else [list(edit.tokens) for edit in example.edits]
    state = encoder.state(draw.state)
    for edit in next_edits(draw.state, draw.clean):
        row = state.row_of(edit)
        site = state.sites[row - 1]
        source = draw.state.source
        yield Target(
            source.count(b"\n", 0, edit.start) + 1, site.op, site.category, _text(source[edit.start : edit.end]),
            _text(edit.text), bool(edit.text) and encoder.text_tokens(state, row, edit.text) in texts,
        )  # fmt: skip


def _tokens(example: Example, encoder: Encoder) -> Iterable[Token]:
    inside: set[int] = set()
    behind: set[int] = set()
    for row in example.correct:
        first, last, kind = example.rows[row]
        name = encoder.kinds[int(kind)]
        if name.startswith("insert "):
            behind.add(int(last))
        elif name != "stop":
            inside.update(range(first, last + 1))
    special = {token: name for name, token in encoder.special.ids.items()}
    for at, token in enumerate(map(int, example.tokens)):
        text = special[token] if token in special else _text(encoder.tokenizer.token_bytes(token))
        yield Token(text, token in special, "insert" if at in behind else "site" if at in inside else "")


def _tests(asserts: Sequence[str], observation: Observation | None) -> Iterable[Test]:
    if observation is None:
        yield from (Test(name, "not run", "") for name in asserts)
        return
    yield from (Test(outcome.name, outcome.status, _message(outcome)) for outcome in observation.outcomes)
    if observation.error is not None:
        yield Test("the program", "error", observation.error)


def _message(outcome: TestOutcome) -> str:
    if outcome.got is not None and outcome.expected is not None:
        return f"got {outcome.got} want {outcome.expected}"
    return ": ".join(part for part in (outcome.exception, outcome.message) if part)


def _text(source: bytes) -> str:
    return source.decode("utf-8", "replace")


def diff(v: View) -> list[str]:
    """The whole function, line by line: ` ` in both, `-` in the clean program alone, `+` in the broken one alone."""
    clean, state = v.clean.splitlines(), v.state.splitlines()
    changed = list(difflib.unified_diff(clean, state, lineterm="", n=len(clean)))[3:]
    return changed or [f" {line}" for line in clean]


def tables(views: Sequence[View]) -> dict[str, Rows]:
    """Tables: starting states, mutations, edits, parts shown, lengths in tokens, and examples left out."""
    kept = [v for v in views if v.dropped is None]
    drawn = [v for v in views if v.start]
    return {
        "states": _states(drawn),
        "mutation kinds": _kinds(drawn),
        "edits": _edits(drawn),
        "shown": [
            {"part": part, "share": _share(sum(part in v.shows for v in kept), len(kept))}
            for part in ("intent", "spec", "observation")
        ],
        "tokens": [
            _spread("prefix", [v.prefix for v in kept]),
            _spread("suffix", [v.suffix for v in kept]),
            _spread("edits written out", [v.edits for v in kept]),
        ],
        "dropped": [
            {"why": why, "examples": n, "share": _share(n, len(views))}
            for why, n in Counter(v.dropped or "(kept)" for v in views).most_common()
        ],
    }


def cell(column: str, value: Any) -> str:
    """A value of a table as text."""
    if isinstance(value, float):
        return f"{value:.1f}" if column == "mean" else f"{value:.1%}"
    return "-" if value is None else str(value)


def padding(buckets: Sequence[Bucket]) -> Rows:
    """The share of padding in the rows of each length, and in all of them."""
    total = sum(len(bucket.members) for bucket in buckets)
    tokens = sum(len(bucket.members) * bucket.length for bucket in buckets)
    rows = [
        {
            "row tokens": str(b.length),
            "examples": len(b.members),
            "share": len(b.members) / total,
            "padding": b.padding_share,
        }
        for b in buckets
    ]
    padded = sum(len(bucket.members) * bucket.length * bucket.padding_share for bucket in buckets)
    return [*rows, {"row tokens": "all", "examples": total, "share": 1.0, "padding": _share(padded, tokens)}]


def _states(views: Sequence[View]) -> Rows:
    rows = []
    for start in get_args(Start):
        these = [v for v in views if v.start == start]
        run = [v for v in these if v.breaks is not None]
        counts = {"start": start, "examples": len(these), "share": _share(len(these), len(views))}
        rows.append(
            counts | {"broken, with tests run": len(run), "break a test": _share(sum(map(_breaks, run)), len(run))}
        )
    return rows


def _breaks(v: View) -> bool:
    return v.breaks is True


def _kinds(views: Sequence[View]) -> Rows:
    """`break a test` counts programs with this one mutation."""
    counts = Counter(kind for v in views for kind in v.kinds)
    rows = []
    for kind, n in counts.most_common():
        alone = [v for v in views if v.kinds == (kind,) and v.breaks is not None]
        rows.append({"kind": kind, "mutations": n, "share": n / counts.total(), "alone, with tests run": len(alone),
                     "break a test": _share(sum(map(_breaks, alone)), len(alone))})  # fmt: skip
    return rows


def _edits(views: Sequence[View]) -> Rows:
    """Shares of examples by number of mutations, of edits on the path back, and of correct first edits."""
    mutated = [v for v in views if v.start == "mutated"]
    counts = {
        "mutations": Counter(len(v.kinds) for v in mutated),
        "path back": Counter(len(v.path) for v in mutated),
        "right first edits": Counter(len(v.targets) for v in mutated),
    }
    numbers = sorted(set().union(*counts.values()))
    return [{"number": n} | {of: _share(count[n], len(mutated)) for of, count in counts.items()} for n in numbers]


def _spread(of: str, numbers: Sequence[int]) -> dict[str, Any]:
    if not numbers:
        return {"of": of, "mean": None, "median": None, "90th": None, "99th": None, "most": None}
    median, high, highest = (round(float(x)) for x in np.percentile(numbers, [50, 90, 99]))
    return {"of": of, "mean": float(np.mean(numbers)), "median": median, "90th": high, "99th": highest,
            "most": max(numbers)}  # fmt: skip


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
