"""States and edits as arrays, and back: one code path for training and for inference.

A state is `<intent> .. <spec> .. <obs> .. <program> .. </program>`, each of the first three only where known.
Its sites are rows (first token, last token, kind); row 0 is always `stop`. An edit is written in place: the
suffix `<edit> <until> w1 .. wn <end>` has `<edit>` at the rotary position of the span's first token, `<until>`
at that of its end, and w_i at start + i - 1. Training encodes true edits, inference decodes the model's: the
closed-loop test feeds the first to the second and must get the clean program back, byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kelp.encoding.condition import Condition, EncodingConfig
from kelp.encoding.tokenizer import Tokenizer
from kelp.encoding.vocabulary import OPERATIONS, PADDING, STOP, site_kinds
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import Site, key, make_edit, site_index, sites


@dataclass(frozen=True, eq=False)
class State:
    """One program state, encoded. `rows[0]` is stop; `rows[i]` belongs to `sites[i - 1]`."""

    program: Program
    tokens: list[int]
    rows: list[tuple[int, int, int]]
    sites: tuple[Site, ...]

    def span(self, row: int) -> tuple[int, int]:
        """Rotary positions of a row's span: its start and its end, as `<edit>` and `<until>` carry them."""
        first, last, _ = self.rows[row]
        return (last, last) if self.sites[row - 1].op == "insert" else (first, last + 1)

    def row_of(self, edit: Edit) -> int:
        """The row an edit belongs to. Raises KeyError where its span is no site."""
        return 1 + site_index(self.program)[key(edit)]


class Encoder:
    """Tokenizer, limits and numbering of site kinds: converts states and edits to numbers and back.

    `kinds` are the names of the site kinds in the order that the model numbers them. A site of a kind that is not
    among them gets a row of padding: the model neither points at it nor writes there.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: EncodingConfig = EncodingConfig(),
        kinds: Sequence[str] | None = None,
    ) -> None:
        self.tokenizer, self.config, self.language = tokenizer, config, tokenizer.language
        self.special = tokenizer.special
        self.kinds = tuple(site_kinds(self.language) if kinds is None else kinds)
        self._encoded = lru_cache(maxsize=256)(tokenizer.encode)  # many examples have the same tests
        numbers = {name: number for number, name in enumerate(self.kinds)}
        self._kinds = {
            (op, category): numbers.get(f"{op} {category}", PADDING)
            for op in OPERATIONS
            for category in self.language.categories
        }

    def kind_of(self, site: Site) -> int:
        """The number of a site's kind."""
        return self._kinds[site.op, site.category]

    def state(self, program: Program, condition: Condition = Condition()) -> State:
        """Encode a program state with its condition."""
        special = self.special
        tokens = self._condition(condition)
        stop_at = len(tokens)
        ids, starts, ends = self.tokenizer.encode_with_spans(program.source)
        doc = self.language.docstring(program)
        if doc is not None and doc[0] in starts and doc[1] in ends:  # the intent repeats it
            first, last = starts[doc[0]], ends[doc[1]]
            saved = last - first
            ids[first : last + 1] = [special.doc]
            starts = {at: t - saved if t > first else t for at, t in starts.items()}
            ends = {at: t - saved if t >= last else t for at, t in ends.items()}
        base = stop_at + 1
        tokens = [*tokens, special.program, *ids, special.program_end]
        rows = [(stop_at, stop_at, STOP)]
        for start, end, op, category in sites(program):
            if op == "insert":
                first = base + (ends[start] if start in ends else starts[start] - 1)
                last = first + 1
            elif start in starts and end in ends:
                first, last = base + starts[start], base + ends[end]
            else:  # begins or ends in the space between pieces: use the tokens of the pieces around it
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
        config, encode, special = self.config, self._encoded, self.special
        tokens: list[int] = []
        if condition.intent and config.max_intent:
            tokens += [special.intent, *encode(condition.intent.encode())[: config.max_intent]]
        if condition.asserts and config.max_spec:
            room, spec = config.max_spec, []
            for line in condition.asserts:  # whole asserts only
                ids = encode(b"\n" + line.removeprefix("assert ").encode())
                if len(ids) <= room:
                    spec += ids
                    room -= len(ids)
            tokens += [special.spec, *spec] if spec else []
        if condition.observation and config.max_observation:
            tokens += [special.observation, *encode(condition.observation.encode())[: config.max_observation]]
        return tokens

    def text_tokens(self, state: State, row: int, text: bytes) -> list[int]:
        """The tokens w1 .. wn of an edit's text at a row, as the model is to write them."""
        return self.tokenizer.encode(self._space_before(state, row) + text)

    def edit(self, state: State, row: int, tokens: list[int]) -> Edit | None:
        """The edit that a row and its text's tokens stand for; None where it is not legal."""
        text = self.tokenizer.decode(tokens).removeprefix(self._space_before(state, row))
        return make_edit(state.program, state.sites[row - 1], text)

    def _space_before(self, state: State, row: int) -> bytes:
        """The space before a site, where the first token of the site's text holds it although the text does not."""
        start = state.sites[row - 1].start
        return b" " if self.tokenizer.holds_space and state.program.source[:start].endswith(b" ") else b""

    def suffix(self, state: State, row: int, text: list[int]) -> tuple[list[int], list[int], list[int]]:
        """(tokens, rotary positions, targets) of `<edit> <until> w1 .. wn`; the target -1 is none."""
        start, end = state.span(row)
        tokens = [self.special.edit, self.special.until, *text]
        positions = [start, end, *range(start, start + len(text))]
        return tokens, positions, [-1, *text, self.special.end]

    def allowed(self) -> tuple[np.ndarray, np.ndarray]:
        """(first, rest): bool [kinds, vocabulary], which tokens may begin and which may continue a text of each kind.

        Necessary conditions by category (`Language.fits`); `edit` checks the whole text.
        """
        language, size = self.language, self.tokenizer.size
        first, rest = np.zeros((2, len(self.kinds), size), bool)
        readings: dict[tuple[str, bytes], int] = {}  # several tokens may share one: " x" and "x"
        pairs = [(token, readings.setdefault(reading, len(readings)))
                 for token in range(size) for reading in self.tokenizer.readings(token)]  # fmt: skip
        token, reading = np.asarray(pairs, np.int64).reshape(-1, 2).T
        begins = np.asarray([place == "first" for place, _ in readings], bool)
        for category in language.categories:
            if category in language.free:
                fitting = np.ones(len(readings), bool)
            else:
                fitting = np.asarray([language.fits(category, text, place) for place, text in readings], bool)
            for op in ("replace", "insert"):
                if kind := self._kinds[op, category]:
                    first[kind, token[(fitting & begins)[reading]]] = True
                    rest[kind, token[(fitting & ~begins)[reading]]] = True
                    rest[kind, self.special.end] = True
        return first, rest


def pad(rows: list[list[int]], width: int, value: int) -> np.ndarray:
    """int32 [len(rows), width], filled up with `value` at the right."""
    out = np.full((len(rows), width), value, np.int32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
