"""From records to training examples: break a program, ask the diff for the way back, encode what the model sees.

Every example is a pure function of (seed, index), so shards can be made anywhere, in any order, and again.
"""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kelp.data.batch import Example
from kelp.data.encoding import Condition, Encoder, EncodingConfig
from kelp.data.record import Record
from kelp.data.shards import BUCKETS
from kelp.data.variants import VARIANT
from kelp.diffusion.bank import Bank
from kelp.diffusion.diff import next_edits
from kelp.diffusion.forward import ForwardConfig, corrupt
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.syntax.program import Program, parse

LIMITS = Limits(seconds=0.5)  # of one run: a broken loop should not cost more than a hundred others
RUN = 8  # consecutive examples made from one function, whose tree is then parsed once


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """`[data]` of a training recipe. Shares and weights are probabilities."""

    folder: Path  # where shards are made, unless they are there
    sources: tuple[str, ...]  # those of `kelp corpus build`, and "corpus:DIR", one that is built
    examples: int = Field(gt=0)
    valid_examples: int = Field(default=1000, ge=0)
    vocab_size: int = Field(default=4096, ge=300, le=65536)
    max_bytes: int = Field(default=2000, gt=0)  # longer functions are left out
    max_prefix: int = Field(default=640, gt=0, le=BUCKETS[-1][0])  # longer examples are dropped
    seed: int = 0
    steps: tuple[float, ...] = (0.5, 0.2, 0.15, 0.1, 0.05)  # weight of 1, 2, ... mutations
    random_program: float = Field(default=0.02, ge=0, le=1)  # start from another program (rho of tree diffusion)
    stop: float = Field(default=0.05, ge=0, le=1)  # start from the clean program: the answer is stop
    intent: float = Field(default=0.7, ge=0, le=1)  # share of examples that keep this part
    spec: float = Field(default=0.8, ge=0, le=1)
    observation: float = Field(default=0.8, ge=0, le=1)
    with_spec: float = Field(default=0.5, ge=0, le=1)  # share of examples from functions that have tests
    variants: int = Field(default=0, ge=0)  # tries at programs made from the toy ones, or else from those with tests
    with_variant: float = Field(default=0.5, ge=0, le=1)  # share of examples with tests that are made from them
    specs: Literal["none", "own", "generated"] = "generated"  # tests: none, those records come with, made by running
    encoding: EncodingConfig = EncodingConfig()
    kinds: dict[str, float] = {}  # weights of mutation kinds, over the defaults


class ExampleMaker:
    """Makes example number i. Programs whose tests pass although broken are shown without tests."""

    def __init__(
        self,
        records: Sequence[Record],
        encoder: Encoder,
        bank: Bank,
        config: DataConfig,
        seed: int,
        limits: Limits = LIMITS,
    ) -> None:
        self.records, self.encoder, self.bank, self.config, self.seed = records, encoder, bank, config, seed
        self.tested = [r for r in records if r.asserts and not r.origin.endswith(VARIANT)]
        self.variants = [r for r in records if r.origin.endswith(VARIANT)]
        self.forward = ForwardConfig(weights=config.kinds)
        self.sandbox = Sandbox(limits=limits, allow_weak=True) if self.tested and config.observation > 0 else None
        self.program: Callable[[str], Program] = lru_cache(64)(parse_source)

    def close(self) -> None:
        if self.sandbox is not None:
            self.sandbox.close()

    def __call__(self, index: int) -> Example | None:
        """Example number `index`, or None where it came out too long or could not be broken."""
        config = self.config
        pick = random.Random(f"record {self.seed} {index // RUN}")
        pool = self.records
        if self.tested and pick.random() < config.with_spec:
            pool = self.variants if self.variants and pick.random() < config.with_variant else self.tested
        record = pool[pick.randrange(len(pool))]
        rng = random.Random(f"example {self.seed} {index}")
        clean = self.program(record.source)
        state, draw = clean, rng.random()
        if draw < config.random_program:
            state = self.program(rng.choice(self.records).source)
        elif draw >= config.random_program + config.stop:
            steps = rng.choices(range(1, len(config.steps) + 1), config.steps)[0]
            _, state = corrupt(clean, rng, steps, self.forward, self.bank)
            if state.source == clean.source:
                return None
        condition = self.condition(record, state, rng, broken=state.source != clean.source)
        return make_example(self.encoder, clean, state, condition, rng, config.max_prefix)

    def condition(self, record: Record, state: Program, rng: random.Random, *, broken: bool) -> Condition:
        """What this example shows of goal and state: parts left out at random, tests only where they tell."""
        config = self.config
        intent = record.intent if rng.random() < config.intent else ""
        show_spec, show_observation = rng.random() < config.spec, rng.random() < config.observation
        shown = rng.sample(record.asserts, rng.randint(min(2, len(record.asserts)), len(record.asserts)))
        asserts = tuple(a for a in record.asserts if a in shown)
        observation = ""
        if asserts and self.sandbox is not None and (show_observation or show_spec):
            seen = self.sandbox.run(state.source, asserts=asserts, setup=record.context or "")
            if seen.ok == broken:  # the tests cannot tell (or are flaky)
                return Condition(intent)
            observation = seen.render() if show_observation else ""
        return Condition(intent, asserts if show_spec else (), observation)


def make_example(
    encoder: Encoder, clean: Program, state: Program, condition: Condition, rng: random.Random, max_prefix: int
) -> Example | None:
    """Encode a state and the first edits of its shortest paths to the clean program; None where too long."""
    encoded = encoder.state(state, condition)
    if len(encoded.tokens) > max_prefix:
        return None
    edits = next_edits(state, clean)
    if not edits:
        return Example(encoded.tokens, encoded.rows, [0], (0, 0), None)
    correct = [encoded.row_of(edit) for edit in edits]
    at = rng.randrange(len(edits))
    written = encoder.written(edits[at].text) if edits[at].text else None
    if written is not None and 2 + len(written) > BUCKETS[-1][1]:
        return None
    return Example(encoded.tokens, encoded.rows, sorted(set(correct)), encoded.span(correct[at]), written)


def parse_source(source: str) -> Program:
    return parse(source.rstrip("\n").encode())
