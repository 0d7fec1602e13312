"""What the model sees and what it answers, as arrays: one code path for training and for inference.

A state is `<intent> .. <spec> .. <obs> .. <program> .. </program>`, each of the first three only where known.
Its sites are rows (first token, last token, kind); row 0 is always `stop`. An edit is written in place: the
suffix `<edit> <until> w1 .. wn <end>` has `<edit>` at the rotary position of the span's first token, `<until>`
at that of its end, and w_i at start + i - 1. Training encodes true edits, inference decodes the model's: the
closed-loop test feeds the first to the second and must get the clean program back, byte for byte.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from kelp.encoding.tokenizer import GAP, PIECE, Tokenizer
from kelp.encoding.vocabulary import (
    DOC,
    EDIT,
    END,
    INTENT,
    OBS,
    PAD,
    PROGRAM,
    PROGRAM_END,
    SPEC,
    SPECIAL,
    STOP,
    UNTIL,
)
from kelp.syntax.edits import Edit
from kelp.syntax.program import Language, Program
from kelp.syntax.sites import Site, key, make_edit, site_index, sites

OPS = ("replace", "insert", "delete")


@dataclass(frozen=True)
class Condition:
    """What is known of the goal and of the state; empty parts are left out."""

    intent: str = ""
    asserts: tuple[str, ...] = ()  # visible tests, as source
    observation: str = ""  # what the tests said about this very program
    # The search's, which no model sees:
    suspicion: tuple[float, ...] = ()  # of each line of the program, from 0 to 1
    names: frozenset[str] | None = None  # that the file defines around the program; None where that is not known


@dataclass(frozen=True)
class EncodingConfig:
    """Longest conditioning parts, in tokens. The program is never cut."""

    max_intent: int = 24
    max_spec: int = 80
    max_observation: int = 48

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # in a recipe, an unknown key is refused

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is a number of tokens and cannot be {value}")


@dataclass(frozen=True, eq=False)
class State:
    """One program state, encoded. `rows[0]` is stop; `rows[i]` belongs to `sites[i - 1]`."""

    program: Program
    tokens: list[int]
    rows: list[tuple[int, int, int]]
    sites: tuple[Site, ...]

    def span(self, row: int) -> tuple[int, int]:
        """Rotary positions of a row's span: its start and its end, as `<edit>` and `<until>` carry them."""
        first, last, kind = self.rows[row]
        return (last, last) if kind_op(kind, self.program.language) == "insert" else (first, last + 1)

    def row_of(self, edit: Edit) -> int:
        """The row an edit belongs to. Raises KeyError where its span is no site."""
        return 1 + site_index(self.program)[key(edit)]


def kind_count(language: Language) -> int:
    return 2 + len(OPS) * len(language.categories)


def kind_id(site: Site, language: Language) -> int:
    return 2 + OPS.index(site.op) * len(language.categories) + language.categories.index(site.category)


def kind_op(kind: int, language: Language) -> str:
    return OPS[(kind - 2) // len(language.categories)] if kind > STOP else ""


class Encoder:
    """Tokenizer and limits together: everything that turns states and edits into numbers and back."""

    def __init__(self, tokenizer: Tokenizer, config: EncodingConfig = EncodingConfig()) -> None:
        self.tokenizer, self.config, self.language = tokenizer, config, tokenizer.language
        self._encoded = lru_cache(maxsize=256)(tokenizer.encode)  # several examples show the same tests
        self._kinds = {
            (op, category): kind_id(Site(0, 0, op, category), self.language)
            for op in OPS
            for category in self.language.categories
        }

    def state(self, program: Program, condition: Condition = Condition()) -> State:
        """Encode a program state with what is known about it."""
        tokens = self._condition(condition)
        stop_at = len(tokens)
        ids, starts, ends = self.tokenizer.encode_with_spans(program.source)
        doc = self.language.docstring(program)
        if doc is not None and doc[0] in starts and doc[1] in ends:  # the intent says it already
            first, last = starts[doc[0]], ends[doc[1]]
            saved = last - first
            ids[first : last + 1] = [DOC]
            starts = {at: t - saved if t > first else t for at, t in starts.items()}
            ends = {at: t - saved if t >= last else t for at, t in ends.items()}
        base = stop_at + 1
        tokens = [*tokens, PROGRAM, *ids, PROGRAM_END]
        rows = [(stop_at, stop_at, STOP)]
        for start, end, op, category in sites(program):
            if op == "insert":
                first = base + (ends[start] if start in ends else starts[start] - 1)
                last = first + 1
            elif start in starts and end in ends:
                first, last = base + starts[start], base + ends[end]
            else:  # begins or ends in the space between pieces: the pieces around it speak for it
                first, last = base + self._after(start, starts, ends), base + self._before(end, starts, ends)
            rows.append((first, last, self._kinds[op, category]))
        return State(program, tokens, rows, sites(program))

    @staticmethod
    def _after(at: int, starts: dict[int, int], ends: dict[int, int]) -> int:
        return starts[at] if at in starts else ends[at] + 1

    @staticmethod
    def _before(at: int, starts: dict[int, int], ends: dict[int, int]) -> int:
        return ends[at] if at in ends else starts[at] - 1

    def _condition(self, condition: Condition) -> list[int]:
        config, encode = self.config, self._encoded
        tokens: list[int] = []
        if condition.intent and config.max_intent:
            tokens += [INTENT, *encode(condition.intent.encode())[: config.max_intent]]
        if condition.asserts and config.max_spec:
            room, spec = config.max_spec, []
            for line in condition.asserts:  # whole asserts only
                ids = encode(b"\n" + line.removeprefix("assert ").encode())
                if len(ids) <= room:
                    spec += ids
                    room -= len(ids)
            tokens += [SPEC, *spec] if spec else []
        if condition.observation and config.max_observation:
            tokens += [OBS, *encode(condition.observation.encode())[: config.max_observation]]
        return tokens

    def written(self, text: bytes) -> list[int]:
        """The tokens of an edit's text, as the model is to write them: w1 .. wn."""
        return self.tokenizer.encode(text)

    def edit(self, state: State, row: int, written: list[int]) -> Edit | None:
        """The edit that a row and the written tokens stand for; None where it is not legal."""
        site = state.sites[row - 1]
        return make_edit(state.program, site, self.tokenizer.decode(written))

    def suffix(self, state: State, row: int, written: list[int]) -> tuple[list[int], list[int], list[int]]:
        """(tokens, rotary positions, targets) of `<edit> <until> w1 .. wn`; -1 is no target."""
        start, end = state.span(row)
        tokens = [EDIT, UNTIL, *written]
        positions = [start, end, *range(start, start + len(written))]
        return tokens, positions, [-1, *written, END]

    def allowed(self) -> tuple[np.ndarray, np.ndarray]:
        """(first, rest): bool [kinds, vocabulary], which tokens may begin and go on a text of each kind.

        Necessary conditions by category (`Language.fits`); whether the whole text is legal, `edit` decides.
        """
        tokenizer, fits = self.tokenizer, self.language.fits
        kinds = kind_count(self.language)
        first = np.zeros((kinds, tokenizer.size), bool)
        rest = np.zeros((kinds, tokenizer.size), bool)
        texts = [(t, tokenizer.strings[t][0], tokenizer.token_bytes(t)) for t in range(len(SPECIAL), tokenizer.size)]
        for category in self.language.categories:
            begins = [t for t, marker, text in texts if marker in (PIECE, GAP) and fits(category, text, "first")]
            goes_on = [t for t, marker, text in texts
                       if fits(category, text, "next" if marker in (PIECE, GAP) else "inside")]  # fmt: skip
            for op in ("replace", "insert"):
                first[self._kinds[op, category], begins] = True
                rest[self._kinds[op, category], [*goes_on, END]] = True
        return first, rest


def pad(rows: list[list[int]], width: int, value: int = PAD) -> np.ndarray:
    """int32 [len(rows), width], filled up with `value` at the right."""
    out = np.full((len(rows), width), value, np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
