"""Where proposals come from: the model's own edits and the near misses it scores, or no model at all."""

import math
import random
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np

from kelp.data.encoding import Condition, Encoder, State, kind_op, pad
from kelp.data.vocabulary import EDIT, END, UNTIL
from kelp.diffusion.mutations import near_misses
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

MODEL, NEAR_MISS = "model", "near-miss"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit of a program, the log-probability (nats) the policy gives it, and where it comes from."""

    edit: Edit
    log_prob: float
    origin: str


class Policy(Protocol):
    def propose(self, program: Program, condition: Condition) -> list[Proposal]:
        """Legal edits of the program, best first, no two with one result."""
        ...


class NoModel:
    """The baseline: every single near miss in random order, each as likely as the next."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)

    def propose(self, program: Program, condition: Condition) -> list[Proposal]:
        found = near_misses(program)
        self.rng.shuffle(found)
        log_prob = -math.log(max(1, len(found)))
        return [Proposal(m.edit, log_prob, NEAR_MISS) for m in found]


@dataclass(frozen=True)
class DecodeConfig:
    """How much the model writes of its own for one program state."""

    sites: int = 12  # the likeliest sites, decoded as one batch
    beams: int = 4  # replacements for each
    max_tokens: int = 24

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


class ModelPolicy:
    """The denoiser's proposals: its replacements at the likeliest sites, and all near misses under its scores."""

    def __init__(self, denoiser, encoder: Encoder, config: DecodeConfig = DecodeConfig()) -> None:  # type: ignore[no-untyped-def]
        self.denoiser, self.encoder, self.config = denoiser, encoder, config

    @cached_property
    def _compiled(self):  # type: ignore[no-untyped-def]
        """The three jitted calls; JAX is imported on first use."""
        import equinox as eqx
        import jax.numpy as jnp

        first, rest = map(jnp.asarray, self.encoder.allowed())
        config = self.config

        @eqx.filter_jit
        def encode(model, prefix, rows):  # type: ignore[no-untyped-def]
            hidden, cache = model.encode(prefix)
            return model.site_log_probs(hidden, rows)[0], cache

        @eqx.filter_jit
        def score(model, cache, *suffix):  # type: ignore[no-untyped-def]
            return model.score(cache, *suffix)

        @eqx.filter_jit
        def decode(model, cache, starts, ends, kinds):  # type: ignore[no-untyped-def]
            return model.decode(
                cache, starts, ends, kinds, first, rest, edit=EDIT, until=UNTIL, end=END,
                beams=config.beams, max_tokens=config.max_tokens,
            )  # fmt: skip

        return partial(encode, self.denoiser), partial(score, self.denoiser), partial(decode, self.denoiser)

    def propose(self, program: Program, condition: Condition) -> list[Proposal]:
        encode, _, _ = self._compiled
        state = self.encoder.state(program, condition)
        prefix = pad([state.tokens], _bucket(len(state.tokens), 64))
        rows = np.zeros((1, _bucket(len(state.rows), 32), 3), np.int32)
        rows[0, : len(state.rows)] = state.rows
        site_log_probs, cache = encode(prefix, rows)
        where = np.asarray(site_log_probs, np.float64)[: len(state.rows)]
        best: dict[bytes, Proposal] = {}
        for proposal in [*self._written(state, where, cache), *self._near_misses(state, where, cache)]:
            result = proposal.edit.apply(program.source)
            if result not in best or proposal.log_prob > best[result].log_prob:
                best[result] = proposal
        return sorted(best.values(), key=lambda p: -p.log_prob)

    def _written(self, state: State, where: np.ndarray, cache) -> list[Proposal]:  # type: ignore[no-untyped-def]
        """Deletions, and what the model writes at the likeliest other sites."""
        language = state.program.language
        order = [int(row) for row in np.argsort(-where) if row > 0]
        deletes = [row for row in order if kind_op(state.rows[row][2], language) == "delete"]
        writes = [row for row in order if kind_op(state.rows[row][2], language) != "delete"][: self.config.sites]
        found = []
        for row in deletes[: self.config.sites]:
            if edit := self.encoder.edit(state, row, []):
                found.append(Proposal(edit, float(where[row]), MODEL))
        if not writes:
            return found
        chosen = [*writes, *[writes[-1]] * (self.config.sites - len(writes))]  # one shape, one compilation
        spans = np.asarray([state.span(row) for row in chosen], np.int32)
        kinds = np.asarray([state.rows[row][2] for row in chosen], np.int32)
        decoded = self._compiled[2](cache, spans[:, 0], spans[:, 1], kinds)
        tokens, lengths = np.asarray(decoded.tokens), np.asarray(decoded.lengths)
        log_probs = np.asarray(decoded.log_probs, np.float64)
        for i, row in enumerate(writes):
            for beam in range(tokens.shape[1]):
                if np.isfinite(log_probs[i, beam]) and lengths[i, beam]:
                    edit = self.encoder.edit(state, row, tokens[i, beam, : lengths[i, beam]].tolist())
                    if edit is not None:
                        found.append(Proposal(edit, float(where[row] + log_probs[i, beam]), MODEL))
        return found

    def _near_misses(self, state: State, where: np.ndarray, cache) -> list[Proposal]:  # type: ignore[no-untyped-def]
        """All near misses under teacher forcing: their tokens are few, so all together cost about one more pass."""
        edits = [m.edit for m in near_misses(state.program)]
        rows = [state.row_of(edit) for edit in edits]
        suffixes = [
            self.encoder.suffix(state, row, self.encoder.written(edit.text)) if edit.text else ([], [], [])
            for edit, row in zip(edits, rows)
        ]
        log_probs = where[rows] if rows else np.zeros(0)
        for longest in (8, 16, 48):  # short ones are the most: they should not pay for the long
            at = [i for i, (s, _, _) in enumerate(suffixes) if s and _length_class(len(s)) == longest]
            for chunk in (at[i : i + 128] for i in range(0, len(at), 128)):
                size = 32 if len(chunk) <= 32 else 128
                empty: list[list[int]] = [[]] * (size - len(chunk))
                tokens, positions, targets = (
                    pad([*(suffixes[i][part] for i in chunk), *empty], longest, fill)
                    for part, fill in enumerate((0, 0, -1))
                )
                scores = self._compiled[1](cache, tokens, positions, targets)
                log_probs[chunk] += np.asarray(scores, np.float64)[: len(chunk)]
        return [
            Proposal(edit, float(log_prob), NEAR_MISS)
            for edit, log_prob, (suffix, _, _) in zip(edits, log_probs, suffixes)
            if len(suffix) <= 48
        ]


def _length_class(length: int) -> int:
    return next((longest for longest in (8, 16, 48) if length <= longest), 0)


def _bucket(length: int, smallest: int) -> int:
    """The padded length: few different ones, so that few shapes are compiled."""
    size = smallest
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
