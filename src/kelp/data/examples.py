"""From records to training examples: break a program, ask the diff for the way back, encode what the model sees.

Every example is a pure function of (seed, index), so shards can be made anywhere, in any order, and again.
"""

import json
import multiprocessing
import os
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from kelp.data import corpus, specs, toy
from kelp.data.batch import Example
from kelp.data.decontaminate import shipped, toy_tasks
from kelp.data.encoding import Condition, Encoder, EncodingConfig, kind_count
from kelp.data.record import Record, load, save
from kelp.data.shards import BUCKETS, DataError, save_shard
from kelp.data.tokenizer import Tokenizer
from kelp.data.variants import VARIANT, variants
from kelp.diffusion.bank import Bank
from kelp.diffusion.diff import next_edits
from kelp.diffusion.forward import ForwardConfig, corrupt
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.syntax.program import Program, parse

# What observations say, so that the tokenizer knows their words although it is trained on clean programs.
OBSERVED = [
    b"0/3 f(x) got None want True", b"1/4 f(x) timeout", b"2/5 f(x) got False want 0",
    *(f"1/3 f(x) {name} line 2: {message}".encode() for name, message in (
        ("NameError", "name 'x' is not defined"), ("IndexError", "list index out of range"),
        ("TypeError", "unsupported operand type(s) for +: 'int' and 'str'"), ("KeyError", "'x'"),
        ("TypeError", "f() missing 1 required positional argument: 'x'"),
        ("TypeError", "'NoneType' object is not iterable"), ("TypeError", "'int' object is not subscriptable"),
        ("AttributeError", "'list' object has no attribute 'x'"), ("ValueError", "invalid literal"),
        ("UnboundLocalError", "cannot access local variable 'x' where it is not associated with a value"),
        ("ZeroDivisionError", "division by zero"), ("RecursionError", "maximum recursion depth exceeded"),
        ("AssertionError", ""), ("StopIteration", ""), ("NotImplementedError", ""), ("OverflowError", "error"),
    )),
]  # fmt: skip

SHARD = 5_000  # examples in a shard
LIMITS = Limits(seconds=0.5)  # of one run: a broken loop should not cost more than a hundred others
RUN = 8  # consecutive examples made from one function, whose tree is then parsed once


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """`[data]` of a training recipe. Shares and weights are probabilities."""

    folder: Path  # where shards are made, unless they are there
    sources: tuple[str, ...]  # "toy", "stdlib", "package:NAME==VERSION", "directory:PATH", "records:FILE.jsonl.gz"
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
        self.program: Callable[[str], Program] = lru_cache(64)(_parse)

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


def _parse(source: str) -> Program:
    return parse(source.rstrip("\n").encode())


# Building a folder of shards


def build(
    config: DataConfig, *, jobs: int | None = None, progress: Callable[[str, int, int], None] = lambda *_: None
) -> None:
    """Fill `config.folder` with records, tokenizer, bank and shards; what is there already is kept.

    `progress(what, done, total)` is called as the work goes on. Raises DataError where the folder holds other data.
    """
    folder, jobs = config.folder, jobs or os.cpu_count() or 1
    settings = json.loads(config.model_dump_json(exclude={"folder"}))
    meta_path = folder / "meta.json"
    if meta_path.exists():
        made = json.loads(meta_path.read_text())["config"]
        if DataConfig.model_validate({**made, "folder": folder}) != config:  # keys that a later Kelp knows: defaults
            raise DataError(f"{folder} holds data of another configuration; name another folder in [data]")
        return
    folder.mkdir(parents=True, exist_ok=True)
    records_path, tokenizer_path, bank_path = (
        folder / "records.jsonl.gz",
        folder / "tokenizer.json",
        folder / "bank.json.gz",
    )
    if not records_path.exists():
        progress("records", 0, 1)
        save(gather(config, jobs), records_path)
    records = load(records_path)
    train, valid = split(records)
    if not tokenizer_path.exists():
        progress("tokenizer", 0, 1)
        texts = [t.encode() for r in train for t in (r.source, r.intent, *r.asserts)] + OBSERVED * 200
        Tokenizer.train(texts, config.vocab_size).save(tokenizer_path)
    if not bank_path.exists():
        progress("bank", 0, 1)
        Bank.build(_parse(r.source) for r in train).save(bank_path)
    jobs_left = [(config, "train", n) for n in range(-(-config.examples // SHARD))]
    jobs_left += [(config, "valid", 0)] if config.valid_examples and valid else []
    jobs_left = [job for job in jobs_left if not _shard_path(*job).exists()]
    progress("shards", 0, len(jobs_left))
    if jobs == 1 or len(jobs_left) == 1:
        for done, job in enumerate(jobs_left, start=1):
            _make_shard(job)
            progress("shards", done, len(jobs_left))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for done, _ in enumerate(pool.imap_unordered(_make_shard, jobs_left), start=1):
                progress("shards", done, len(jobs_left))
    size = Tokenizer.load(tokenizer_path).size
    meta = {"vocab_size": size, "site_kinds": kind_count(), "records": len(train), "valid_records": len(valid),
            "encoding": vars(config.encoding), "config": settings}  # fmt: skip
    part = meta_path.with_suffix(".part")
    part.write_text(json.dumps(meta, indent=1))
    part.replace(meta_path)


def gather(config: DataConfig, jobs: int) -> list[Record]:
    """The records of all sources, decontaminated, deduplicated, with tests."""
    records: list[Record] = []
    modules: list[Iterable[corpus.Module]] = []
    for source in config.sources:
        name, _, rest = source.partition(":")
        if name == "toy":
            records += toy.TRAIN
        elif name == "stdlib":
            modules.append(corpus.stdlib())
        elif name == "package":
            modules.append(corpus.package(rest, Path.home() / ".cache/kelp/packages"))
        elif name == "directory":
            modules.append(corpus.directory(Path(rest)))
        elif name == "records":
            records += load(Path(rest))
        else:
            raise DataError(f"[data] sources: {source!r} is none of toy, stdlib, package:, directory:, records:")
    if modules:
        found, _ = corpus.build_corpus(*modules, jobs=jobs)
        found = [r for r in found if len(r.source.encode()) <= config.max_bytes]
        records += specs.add_specs(found, config.seed, jobs) if config.specs == "generated" else found
    if config.specs == "none":
        records = [Record(r.source, r.name, r.intent, r.context, (), r.origin, r.licence) for r in records]
    records = [r for r in records if _usable(r)]
    if config.variants:
        # Toy functions are themselves as plain as some benchmark tasks: their variants keep off the toy tasks alone.
        toys = [r for r in records if r.origin.startswith("toy/")]
        records += variants(toys or records, config.variants, toy_tasks() if toys else shipped(), config.seed, jobs)
    return records


def _usable(record: Record) -> bool:
    try:
        return _parse(record.source).root != 0
    except SyntaxError:
        return False


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """(train, valid): about one file in fifty is held out whole. Small sets (toy) hold nothing out."""
    if sum(not r.origin.endswith(VARIANT) for r in records) < 500:
        return list(records), list(records)
    held_out = {o for o in {_file(r) for r in records} if zlib.crc32(o.encode()) % 50 == 0}
    return [r for r in records if _file(r) not in held_out], [r for r in records if _file(r) in held_out]


def _file(record: Record) -> str:
    return record.origin.removesuffix(VARIANT)


def _shard_path(config: DataConfig, part: str, number: int) -> Path:
    return config.folder / f"{part}-{number:05d}.npz"


def _make_shard(job: tuple[DataConfig, str, int]) -> None:
    config, part, number = job
    train, valid = split(load(config.folder / "records.jsonl.gz"))
    encoder = Encoder(Tokenizer.load(config.folder / "tokenizer.json"), config.encoding)
    bank = Bank.load(config.folder / "bank.json.gz")
    seed = config.seed if part == "train" else config.seed + 1_000_000_007
    total = config.examples if part == "train" else config.valid_examples
    maker = ExampleMaker(train if part == "train" else valid, encoder, bank, config, seed)
    try:
        numbers = range(number * SHARD, min(total, (number + 1) * SHARD))
        save_shard([e for i in numbers if (e := maker(i)) is not None], _shard_path(*job))
    finally:
        maker.close()
