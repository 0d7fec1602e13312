"""From records to training examples: break a program, ask the diff for the way back, encode the state and the edits.

Every example is a pure function of (seed, index), so shards can be made anywhere, in any order, and again.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from kelp.bucket import Folder
from kelp.data.record import Record, parse_source
from kelp.data.specs.synthetic_functions import ORIGIN
from kelp.diffusion.bank import Bank
from kelp.diffusion.diff import next_edits
from kelp.diffusion.forward import BY_PEOPLE, ForwardConfig, corrupt
from kelp.diffusion.mutations import Mutation
from kelp.diffusion.rewriting.apply import rewrite
from kelp.encoding.batch import MAX_PREFIX, MAX_SUFFIX, Example, SpanText
from kelp.encoding.condition import Condition, EncodingConfig
from kelp.encoding.encoder import Encoder
from kelp.execution.observation import Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.syntax.program import Program

# Per run: a broken loop should cost no more than fifty other runs, and a busy machine should not change an example.
LIMITS = Limits(seconds=5.0, cpu_seconds=0.25)
MAX_REWRITES = 4  # rules applied to a program that is written another way
EXAMPLES_PER_FUNCTION = 8  # consecutive, so that its tree is parsed once

Start = Literal["mutated", "changed", "random program", "stop"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """`[data]` of a training recipe. Shares and weights are probabilities."""

    folder: Folder  # of the shards, which are made where they are missing
    sources: tuple[str, ...]  # as for `kelp corpus build`; "corpus:DIR" is a corpus that is built
    examples: int = Field(gt=0)
    valid_examples: int = Field(default=1000, ge=0)
    vocab_size: int = Field(default=4096, ge=300, le=65536)
    tokenizer: Folder | None = None  # a tokenizer.json or a model, in place of a tokenizer trained on the data
    max_bytes: int = Field(default=2000, gt=0)  # longer functions are left out
    max_prefix: int = Field(default=640, gt=0, le=MAX_PREFIX)  # longer examples are dropped
    seed: int = 0
    steps: tuple[float, ...] = (0.5, 0.2, 0.15, 0.1, 0.05)  # weight of 1, 2, ... mutations
    curriculum: Literal["constant", "linear", "cosine"] = "constant"  # how `steps` is reached from one mutation each
    changed: float = Field(default=0.0, ge=0, le=1)  # start from a real change's earlier version; shares of the others:
    random_program: float = Field(default=0.02, ge=0, le=1)  # start from another program (rho of tree diffusion)
    stop: float = Field(default=0.05, ge=0, le=1)  # start from the clean program: the answer is stop
    intent: float = Field(default=0.7, ge=0, le=1)  # share of examples that keep this part
    spec: float = Field(default=0.8, ge=0, le=1)
    observation: float = Field(default=0.8, ge=0, le=1)
    with_spec: float = Field(default=0.5, ge=0, le=1)  # share of examples from functions that have tests
    compositions: int = Field(default=0, ge=0)  # tries at small random functions with tests
    with_composition: float = Field(default=0.5, ge=0, le=1)  # share of examples with tests that are made from them
    repeat: dict[str, PositiveInt] = {}  # how many times the functions of a project count; once by default
    by_length: float = Field(default=0.0, ge=0, le=1)  # share of functions drawn in proportion to their length
    rewritten: float = Field(default=0.0, ge=0, le=1)  # share of clean programs that are written another way, by rules
    specs: Literal["none", "own", "generated"] = "generated"  # tests: none, the records' own, made by running
    encoding: EncodingConfig = EncodingConfig()
    kinds: dict[str, float] = {}  # weights of mutation kinds, over the defaults
    people: float = Field(default=0.0, ge=0, le=1)  # share of examples broken by kinds as often as people make them

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: dict[str, float]) -> dict[str, float]:
        return dict(ForwardConfig(weights=kinds).weights)

    @field_validator("steps")
    @classmethod
    def _weights(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not all(math.isfinite(w) and w >= 0 for w in steps) or not sum(steps) > 0:
            raise ValueError(f"weights must be finite, none negative and one positive, got {list(steps)}")
        return steps

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.random_program + self.stop > 1:
            raise ValueError(f"random_program and stop are shares of one whole, got {self.random_program + self.stop}")
        return self

    def weights(self, progress: float) -> tuple[float, ...]:
        """The weight of 1, 2, ... mutations when the share `progress` of the examples, from 0 to 1, has been made.

        A curriculum begins with one mutation in every program and ends with `steps`.
        """
        grown = {"constant": 1.0, "linear": progress, "cosine": (1 - math.cos(math.pi * progress)) / 2}[self.curriculum]
        one, *more = self.steps
        return (one + (1 - grown) * sum(more), *(grown * weight for weight in more))


class NoExample(Exception):
    """No such example exists; the message says why in a few words."""


@dataclass(frozen=True)
class Draw:
    """The material of an example: a clean program, a state on the way to it, and the condition shown with it."""

    index: int
    record: Record
    clean: Program
    state: Program
    start: Start
    mutations: tuple[Mutation, ...]  # each applies to the result of those before it
    condition: Condition
    observation: Observation | None  # of the tests, where they were run


class ExampleMaker:
    """Makes example number i. A broken program that passes its tests is shown without them."""

    def __init__(
        self,
        records: Sequence[Record],
        encoder: Encoder,
        bank: Bank,
        config: DataConfig,
        seed: int,
        limits: Limits = LIMITS,
    ) -> None:
        self.encoder, self.bank, self.config, self.seed = encoder, bank, config, seed
        self.records = [r for r in records if not r.before]
        self.changes = [r for r in records if r.before]
        self.tested = [r for r in self.records if r.asserts and r.origin != ORIGIN]
        self.compositions = [r for r in self.records if r.origin == ORIGIN]
        pools = self.records, self.tested, self.compositions
        self._lengths = {id(pool): list(accumulate(len(r.source) for r in pool)) for pool in pools}
        self.forward = ForwardConfig(weights=config.kinds)
        self.by_people = ForwardConfig(weights=BY_PEOPLE)
        runs = any(r.asserts for r in records) and config.observation > 0
        self.sandbox = Sandbox(limits=limits, allow_weak=True) if runs else None
        self.program: Callable[[str], Program] = lru_cache(64)(parse_source)
        self.record: Callable[[int], Record] = lru_cache(1)(self._record)

    def close(self) -> None:
        if self.sandbox is not None:
            self.sandbox.close()

    def __call__(self, index: int) -> Example:
        """Example number `index`. Raises NoExample."""
        return self.encode(self.draw(index))

    def draw(self, index: int) -> Draw:
        """The material of example number `index`. Raises NoExample."""
        config, rng = self.config, random.Random(f"example {self.seed} {index}")
        if self.changes and (not self.records or rng.random() < config.changed):
            record = rng.choice(self.changes)
            clean, state = self.program(record.source), self.program(record.before)
            condition, observation = self.condition(record, state, rng, broken=True)
            return Draw(index, record, clean, state, "changed", (), condition, observation)
        record = self.record(index // EXAMPLES_PER_FUNCTION)
        clean = self.program(record.source)
        start: Start
        state, start, mutations, draw = clean, "stop", list[Mutation](), rng.random()
        if draw < config.random_program:
            state = self.program(rng.choice(self.records).source)
            start = "stop" if state.source == clean.source else "random program"
        elif draw >= config.random_program + config.stop:
            weights = config.weights(min(1.0, index / config.examples))
            steps = rng.choices(range(1, len(weights) + 1), weights)[0]
            by_people = config.people > 0 and rng.random() < config.people
            forward = self.by_people if by_people else self.forward
            mutations, state = corrupt(clean, rng, steps, forward, self.bank)
            start = "mutated"
            if state.source == clean.source:
                raise NoExample("nothing to mutate")
        condition, observation = self.condition(record, state, rng, broken=state.source != clean.source)
        return Draw(index, record, clean, state, start, tuple(mutations), condition, observation)

    def _record(self, run: int) -> Record:
        """The function that a run of examples is made from."""
        rng, pool = random.Random(f"record {self.seed} {run}"), self.records
        if (self.tested or self.compositions) and rng.random() < self.config.with_spec:
            composed = self.compositions and (not self.tested or rng.random() < self.config.with_composition)
            pool = self.compositions if composed else self.tested
        if self.config.by_length and rng.random() < self.config.by_length:
            record = rng.choices(pool, cum_weights=self._lengths[id(pool)])[0]
        else:
            record = pool[rng.randrange(len(pool))]
        if rng.random() < self.config.rewritten:
            program = parse_source(record.source)
            for _ in range(rng.randint(1, MAX_REWRITES)):
                program = rewrite(program, rng) or program
            record = replace(record, source=program.source.decode() + "\n")
        return record

    def condition(
        self, record: Record, state: Program, rng: random.Random, *, broken: bool
    ) -> tuple[Condition, Observation | None]:
        """(condition, observation): parts are left out at random, and tests that do not tell broken from clean."""
        config = self.config
        intent = record.intent if rng.random() < config.intent else ""
        show_spec, show_observation = rng.random() < config.spec, rng.random() < config.observation
        shown = rng.sample(record.asserts, rng.randint(min(2, len(record.asserts)), len(record.asserts)))
        asserts = tuple(a for a in record.asserts if a in shown)
        text, observation = "", None
        if asserts and self.sandbox is not None and (show_observation or show_spec):
            observation = self.sandbox.run(state.source, asserts=asserts, setup=record.context or "")
            if observation.ok == broken:  # the tests do not distinguish them, or are flaky
                return Condition(intent), observation
            text = observation.render() if show_observation else ""
        return Condition(intent, asserts if show_spec else (), text), observation

    def encode(self, draw: Draw) -> Example:
        """The arrays that the model is trained on. Raises NoExample."""
        return make_example(self.encoder, draw.clean, draw.state, draw.condition, draw.index, self.config.max_prefix)


def make_example(
    encoder: Encoder, clean: Program, state: Program, condition: Condition, seed: int, max_prefix: int
) -> Example:
    """Encode a state and the first edits of its shortest paths to the clean program. Raises NoExample where too long.

    Every such edit's site is correct; the texts of as many as there is room for are targets.
    """
    encoded = encoder.state(state, condition)
    if len(encoded.tokens) > max_prefix:
        raise NoExample(f"more than {max_prefix} tokens")
    edits = next_edits(state, clean)
    if not edits:
        return Example(encoded.tokens, encoded.rows, [0])
    rows = [encoded.row_of(edit) for edit in edits]
    writing = [(row, encoder.text_tokens(encoded, row, edit.text)) for row, edit in zip(rows, edits) if edit.text]
    texts = [SpanText(*encoded.span(row), tokens) for row, tokens in writing if 2 + len(tokens) <= MAX_SUFFIX]
    if not texts and len(writing) == len(edits):
        raise NoExample(f"an edit of more than {MAX_SUFFIX - 2} tokens")
    if sum(2 + len(text.tokens) for text in texts) > MAX_SUFFIX:
        drawn, room = random.Random(seed).sample(texts, len(texts)), MAX_SUFFIX
        texts = []
        for text in drawn:
            if 2 + len(text.tokens) <= room:
                texts.append(text)
                room -= 2 + len(text.tokens)
    return Example(encoded.tokens, encoded.rows, sorted(set(rows)), tuple(texts))
