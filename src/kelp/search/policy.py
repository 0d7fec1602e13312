"""Where proposals come from: the model's own edits and the near misses it scores, or no model at all.

Proposals are made as they are asked for: a search tests the first few dozen of several hundred, and those after
them need be neither scored nor checked. Before what takes work, a `Bound` says how likely it can be at most, so that a
search may first see to what is likelier elsewhere.
"""

import heapq
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from kelp.diffusion.forward import WEIGHTS
from kelp.diffusion.mutations import CANDIDATES, candidates
from kelp.encoding.condition import Condition
from kelp.encoding.encoder import Encoder, State, pad
from kelp.model.suffix_tree import NODES, SuffixTree
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, key, site_index

MODEL, NEAR_MISS, VALUES = "model", "near-miss", "values"  # where proposals come from
BLIND = 0.1  # share of the probability that near misses have among them, whatever the model says
LEAST = 0.02  # suspicion of a line that no failing test executes
UNDEFINED = math.log(0.01)  # what it costs to read a name that is defined nowhere: a step on the way, at best
ODD = -2.0  # what each oddity costs that was not there before; each that is gone gains as much
LENGTHS = [n << k for k in range(24) for n in (128, 192)]  # tokens that prefixes are padded to: each is compiled for


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit of a program, the log-probability (nats) the policy gives it, and where it comes from."""

    edit: Edit
    log_prob: float
    origin: str


class Bound(NamedTuple):
    """Nothing that follows has a log-probability greater than this, and the next of it takes some work to make."""

    log_prob: float
    runs: bool = False  # it takes a run, and it is not known before what may come of that

    @property
    def promise(self) -> float:
        return self.log_prob


Part = tuple[float, Callable[[], Iterable[Proposal]]]  # work to do, and a bound on the log-probability of its yield


class Policy(Protocol):
    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        """Legal edits of the program, best first, no two with one result; bounds among them."""
        ...

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        """How likely it finds these edits, made from values: the legal ones, best first."""
        return []

    @property
    def patience(self) -> float:
        """Nats down to which its own proposals go before values are looked at, which takes a run; by default, never."""
        return math.inf


def proposals(policy: Policy, program: Program, condition: Condition) -> Iterator[Proposal]:
    """What a policy proposes, without the bounds."""
    return (found for found in policy.propose(program, condition) if isinstance(found, Proposal))


SWAPS = ("comparison", "constant", "offset", "binary operator", "boolean operator", "assignment operator")


def swaps(program: Program, suspicion: tuple[float, ...]) -> list[Edit]:
    """Near misses of one operator or constant on lines that failing tests execute.

    Comparisons off by one come first, then the most suspicious lines.
    """
    weight = _line_weights(program, suspicion)
    found = dict.fromkeys(edit for kind in SWAPS for edit in CANDIDATES[kind](program))
    ran = [edit for edit in found if weight(edit.start, edit.end) > math.log(LEAST)]
    return sorted(ran, key=lambda edit: (not is_off_by_one(program, edit), -weight(edit.start, edit.end)))


def is_off_by_one(program: Program, edit: Edit) -> bool:
    """Does it take `<` for `<=`, `>` for `>=`, or the other way round?"""
    operator = program.source[edit.start : edit.end]
    return {operator, edit.text} in ({b"<", b"<="}, {b">", b">="})


Order = Literal["random", "frequency", "spectrum", "swaps", "values"]


class NoModel(Policy):
    """The baselines: every single near miss, each as likely as the next, in one of five orders.

    random: any. frequency: the kinds of mistake that are drawn most often in training, those of greatest weight, come
    first. spectrum: those on the most suspicious lines come first. swaps: the same, but first of all the near misses of
    one operator or constant. values: what is made from values first, then any.
    """

    def __init__(self, seed: int | str = 0, order: Order = "random", weights: Mapping[str, float] = WEIGHTS) -> None:
        self.rng, self.order, self.weights = random.Random(seed), order, weights

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        edits = candidates(program)
        self.rng.shuffle(edits)
        if self.order == "frequency":
            often: dict[Edit, float] = {}
            for kind, of_kind in CANDIDATES.items():
                for edit in of_kind(program):
                    often[edit] = max(often.get(edit, 0.0), self.weights[kind])
            edits.sort(key=lambda e: -often[e])
        elif self.order in ("spectrum", "swaps"):
            weight = _line_weights(program, condition.suspicion)
            edits.sort(key=lambda e: -weight(e.start, e.end))
            if self.order == "swaps":
                edits = list(dict.fromkeys([*swaps(program, condition.suspicion), *edits]))
        log_prob = -math.log(max(1, len(edits)))
        return _legal(program, (Proposal(edit, log_prob, NEAR_MISS) for edit in edits))

    @property
    def patience(self) -> float:
        return 0.0 if self.order == "values" else math.inf

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        log_prob = -math.log(max(1, len(edits)))
        made = (Proposal(edit, log_prob, VALUES) for edit in edits if key(edit) in site_index(program))
        return [each for each in _legal(program, made) if isinstance(each, Proposal)]


def _legal(program: Program, found: Iterator[Proposal | Bound]) -> Iterator[Proposal | Bound]:
    """Those that are legal, the first of each result."""
    seen = set()
    for proposal in found:
        if isinstance(proposal, Bound):
            yield proposal
            continue
        result = proposal.edit.apply(program.source)
        if result not in seen:
            seen.add(result)
            if is_valid(program, proposal.edit):
                yield proposal


class Scored(NamedTuple):
    """A near miss to be scored: the log-probabilities of its site and of its own blind share, its node in the tree."""

    edit: Edit
    site: float
    share: float
    node: int


def _evidence(program: Program, names: frozenset[str] | None) -> tuple[Callable[[Edit], float], float]:
    """What an edit's result says for or against it, in nats, and the most that it can say for one.

    `names` are those that are known around the program. Nothing is said of an illegal edit.
    """
    free_names, lint = program.language.free_names, program.language.lint
    try:
        known = None if names is None else names | free_names(program.source)
        odd = lint(program.source)
    except (SyntaxError, ValueError, RecursionError):
        return lambda edit: 0.0, 0.0

    def evidence(edit: Edit) -> float:
        result = edit.apply(program.source)
        try:
            undefined = known is not None and not free_names(result) <= known
            return UNDEFINED * undefined + ODD * (lint(result) - odd)
        except (SyntaxError, ValueError, RecursionError):
            return 0.0

    return evidence, -ODD * odd


def _line_weights(program: Program, suspicion: tuple[float, ...]) -> Callable[[int, int], float]:
    """The log of the suspicion of a span's worst line; 0 for all where the tests say nothing."""
    if not any(suspicion):
        return lambda start, end: 0.0
    lines = [0, *(i + 1 for i, byte in enumerate(program.source) if byte == ord("\n"))]

    def weight(start: int, end: int) -> float:
        first, last = bisect_right(lines, start), bisect_right(lines, max(start, end - 1))
        last += start == end  # what is put in may belong to the line after
        return math.log(max([LEAST, *suspicion[first - 1 : last]]))

    return weight


@dataclass(frozen=True)
class DecodeConfig:
    """How much the model writes of its own for one program state."""

    sites: int = 12  # the likeliest ones
    batch: int = 4  # sites decoded at a time
    beams: int = 4  # replacements for each
    max_tokens: int = 24

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


class ModelPolicy(Policy):
    """The denoiser's proposals: its replacements at the likeliest sites, and all near misses under its scores.

    The log-probability of a proposal is that of its site, given that something is still wrong, and of its tokens
    and the end. A near miss has, mixed in, a share of `BLIND`: a model that is sure and wrong costs some
    test runs then, but puts none of them off for good. Both the sites' probabilities and these shares are weighted
    by how suspicious the tests make the lines of the site. Then a result counts against its edit where it reads a name
    defined nowhere or is odder than before, and for it where it is less odd.
    """

    patience = 4.0

    def __init__(self, denoiser: Any, encoder: Encoder, config: DecodeConfig = DecodeConfig()) -> None:
        self.denoiser, self.encoder, self.config = denoiser, encoder, config
        self.shortest = LENGTHS[0]

    def warm_up(self, shown: Iterable[tuple[Program, Condition]]) -> None:
        """Compile for all of these programs at once: from now on shorter ones are padded like the longest."""
        states = [self.encoder.state(*pair) for pair in shown]
        self.shortest, at = max((self._length(state), i) for i, state in enumerate(states))
        where, cache = self._encode(states[at])
        list(self._write(states[at], [1], where, cache))
        self._score(SuffixTree(), [], cache)

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        return _legal(program, self._ordered(program, condition))

    def _ordered(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        """Best first. No edit is likelier than its site, so unlikely sites wait until it may be their turn."""
        evidence, most = _evidence(program, condition.names)
        yield Bound(0.0)
        state, where, weight, cache = self._look(program, condition)
        parts = [
            *self._to_write(state, where, cache),
            *self._to_score(state, candidates(program), where, weight, cache),
        ]
        ready: list[tuple[float, int, Proposal, bool]] = []
        number = itertools.count()

        def pop() -> Iterator[Proposal]:
            """The likeliest, once its result was looked at; before that it stands where it could be at most."""
            at, _, proposal, looked_at = heapq.heappop(ready)
            if looked_at:
                yield replace(proposal, log_prob=min(0.0, -at))
            else:
                log_prob = proposal.log_prob + evidence(proposal.edit)
                heapq.heappush(ready, (-log_prob, next(number), proposal, True))

        for bound, make in sorted(parts, key=lambda part: -part[0]):
            while ready and -ready[0][0] >= bound + most:
                yield from pop()
            yield Bound(min(0.0, bound + most))
            for proposal in make():
                heapq.heappush(ready, (-proposal.log_prob - most, next(number), proposal, False))
        while ready:
            yield from pop()

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        evidence, _ = _evidence(program, condition.names)
        state, where, weight, cache = self._look(program, condition)
        edits = [edit for edit in edits if key(edit) in site_index(program) and is_valid(program, edit)]
        made = [each for _, make in self._to_score(state, edits, where, weight, cache) for each in make()]
        weighed = [replace(p, log_prob=min(0.0, p.log_prob + evidence(p.edit)), origin=VALUES) for p in made]
        return sorted(weighed, key=lambda proposal: -proposal.log_prob)

    def _look(self, program: Program, condition: Condition) -> tuple[State, np.ndarray, np.ndarray, Any]:
        """The state, its sites' log-probabilities under the model and the tests, and those weights of the tests alone;
        and the cache that everything else works with.
        """
        state = self.encoder.state(program, condition)
        of_lines = _line_weights(program, condition.suspicion)
        weight = np.asarray([0.0, *(of_lines(site.start, site.end) for site in state.sites)])
        where, cache = self._encode(state)
        where = where + weight
        return state, where + math.log(1 - BLIND) - np.logaddexp.reduce(where[1:]), weight, cache

    def _length(self, state: State) -> int:
        """That the arrays of a state are padded to."""
        needed = max(self.shortest, len(state.tokens), len(state.rows))
        return next(length for length in LENGTHS if length >= needed)

    def _encode(self, state: State) -> tuple[np.ndarray, Any]:
        """Log-probabilities of the sites, and the cache that everything else works with."""
        length = self._length(state)
        rows = np.zeros((1, length, 3), np.int32)
        rows[0, : len(state.rows)] = state.rows
        prefix = pad([state.tokens], length, self.encoder.special.pad)
        valid = np.arange(length)[None] < len(state.tokens)
        where, cache = self._compiled.encode(self.denoiser, prefix, valid, rows)
        return np.asarray(where, np.float64)[: len(state.rows)], cache

    def _to_write(self, state: State, where: np.ndarray, cache: Any) -> Iterator[Part]:
        """What the model would do of its own at the likeliest sites."""
        config = self.config
        sites = np.argsort(-where[1:], kind="stable") + 1  # row 0 is stop
        sites = sites[np.isfinite(where[sites])]  # the model does not know every kind of site
        deletes = [row for row in sites if state.sites[row - 1].op == "delete"][: config.sites]
        writes = [row for row in sites if state.sites[row - 1].op != "delete"][: config.sites]
        for row in deletes:
            site = state.sites[row - 1]
            proposal = Proposal(Edit(site.start, site.end, b""), float(where[row]), MODEL)
            yield where[row], partial(list, [proposal])
        for i in range(0, len(writes), config.batch):
            yield where[writes[i]], partial(self._write, state, writes[i : i + config.batch], where, cache)

    def _write(self, state: State, rows: list[int], where: np.ndarray, cache: Any) -> Iterator[Proposal]:
        padded = [*rows, *[rows[-1]] * (self.config.batch - len(rows))]
        spans = np.asarray([state.span(row) for row in padded], np.int32)
        kinds = np.asarray([state.rows[row][2] for row in padded], np.int32)
        decoded = self._compiled.decode(self.denoiser, cache, spans[:, 0], spans[:, 1], kinds)
        tokens, lengths = np.asarray(decoded.tokens), np.asarray(decoded.lengths)
        log_probs = np.asarray(decoded.model_log_probs, np.float64)
        for i, row in enumerate(rows):
            for beam in range(self.config.beams):
                if np.isfinite(log_probs[i, beam]) and lengths[i, beam]:
                    edit = self.encoder.edit(state, row, tokens[i, beam, : lengths[i, beam]].tolist())
                    if edit is not None:
                        yield Proposal(edit, float(where[row] + log_probs[i, beam]), MODEL)

    def _to_score(
        self, state: State, given: Sequence[Edit], where: np.ndarray, weight: np.ndarray, cache: Any
    ) -> Iterator[Part]:
        """Given edits, those at the likeliest sites first."""
        edits = sorted(((state.row_of(edit), edit) for edit in given), key=lambda pair: -where[pair[0]])
        if not edits:
            return
        shares = weight + math.log(BLIND) - np.logaddexp.reduce(weight[[row for row, _ in edits]])
        most = shares.max()
        tree, ends = SuffixTree(), list[Scored]()
        for row, edit in edits:
            suffix = self.encoder.suffix(state, row, self.encoder.text_tokens(state, row, edit.text))
            length = len(suffix[0])
            if not edit.text or length > NODES:  # a deletion writes nothing; what is this long, the model never wrote
                log_prob = float(np.logaddexp(shares[row], where[row]) if not edit.text else shares[row])
                yield log_prob, partial(list, [Proposal(edit, log_prob, NEAR_MISS)])
                continue
            if not tree.fits(length):
                yield np.logaddexp(most, ends[0].site), partial(self._score, tree, ends, cache)
                tree, ends = SuffixTree(), list[Scored]()
            ends.append(Scored(edit, where[row], shares[row], tree.add(*suffix)))
        if ends:
            yield np.logaddexp(most, ends[0].site), partial(self._score, tree, ends, cache)

    def _score(self, tree: SuffixTree, ends: list[Scored], cache: Any) -> list[Proposal]:
        scores = np.asarray(self._compiled.score(self.denoiser, cache, *tree.arrays()), np.float64)
        return [Proposal(e.edit, float(np.logaddexp(e.share, e.site + scores[e.node])), NEAR_MISS) for e in ends]

    @cached_property
    def _compiled(self) -> "_Compiled":
        """The jitted calls, which other weights of the same sizes may use too. JAX is imported on first use."""
        import equinox as eqx
        import jax
        import jax.numpy as jnp

        first, rest = map(jnp.asarray, self.encoder.allowed())
        config, special = self.config, self.encoder.special

        @eqx.filter_jit
        def encode(model: Any, prefix: Any, valid: Any, rows: Any) -> Any:
            hidden, cache = model.encode(prefix, valid)
            return model.site_log_probs(hidden, rows)[0], cache

        @eqx.filter_jit
        def score(model: Any, cache: Any, tokens: Any, positions: Any, parents: Any, scored: Any, mask: Any) -> Any:
            """Log-probability [Q] of what every node's path writes, and of the end after it."""
            prefix = jnp.broadcast_to(cache.valid, (NODES, cache.valid.shape[1]))
            hidden, _ = model.transformer.with_cache(
                tokens[None], positions[None], jnp.concatenate([prefix, mask], axis=1)[None], shared=cache.layers
            )
            logits = model.transformer.logits(hidden)[0]
            total = jax.nn.logsumexp(logits, axis=-1)
            own = jnp.where(scored, logits[parents, tokens] - total[parents], 0.0)
            return jnp.where(mask, own, 0.0).sum(axis=1) + logits[:, special.end] - total

        @eqx.filter_jit
        def decode(model: Any, cache: Any, starts: Any, ends: Any, kinds: Any) -> Any:
            return model.decode(
                cache, starts, ends, kinds, first, rest, edit=special.edit, until=special.until, end=special.end,
                beams=config.beams, max_tokens=config.max_tokens,
            )  # fmt: skip

        return _Compiled(encode, score, decode)


class _Compiled(NamedTuple):
    encode: Callable[..., Any]
    score: Callable[..., Any]
    decode: Callable[..., Any]
