"""A folder of training data: records, encoding, subtree bank and shards of examples, made once and kept."""

import itertools
import json
import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kelp.bucket import fetched
from kelp.data.corpus import build as corpus
from kelp.data.corpus.build import Progress
from kelp.data.corpus.history import context_suffices
from kelp.data.examples import bank_variants as bank
from kelp.data.examples.make import DataConfig, ExampleMaker, NoExample
from kelp.data.examples.shards import NUMBERS, save_shard
from kelp.data.record import LANGUAGE, DataError, Record, load, parse_source, save, split
from kelp.data.specs.specify import specify
from kelp.data.specs.synthetic_functions import compositions
from kelp.data.workers import Engine, workers
from kelp.diffusion.bank import Bank
from kelp.encoding.condition import EncodingConfig
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding, save_encoding
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer, read_tokenizer
from kelp.encoding.vocabulary import EncodingError
from kelp.files import atomic
from kelp.model.store import find

EXAMPLES_PER_SHARD = 5_000

# Observations, so that the tokenizer knows their words although it is trained on clean programs.
OBSERVATIONS = [
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


FEW = 1000  # examples that one process makes sooner than others would start


def build(
    config: DataConfig, *, jobs: int | None = None, engine: Engine = "local", progress: Progress = lambda *_: None
) -> None:
    """Fill `config.folder` with records, encoding, bank and shards, on all cores; a part that is there is kept.

    `progress(what, done, total)` is called as the work goes on. Raises DataError where the folder holds other data.
    """
    folder, jobs = config.folder, jobs or os.cpu_count() or 1
    settings = json.loads(config.model_dump_json(exclude={"folder"}))
    meta_path = folder / "meta.json"
    if meta_path.exists():
        try:
            meta = json.loads(meta_path.read_text())
            made = DataConfig.model_validate({**meta["config"], "folder": folder})  # a newer key: its default
        except (ValueError, KeyError):
            sentence = f"{meta_path} is not what this version of Kelp writes; name another folder in [data]"
            raise DataError(sentence) from None
        if made != config:
            raise DataError(f"{folder} holds data of another configuration; name another folder in [data]")
        if not _missing(config, valid=meta["valid_records"] > 0):
            return
    folder.mkdir(parents=True, exist_ok=True)
    records_path, bank_path = folder / "records.parquet", folder / "bank.json.gz"
    if not records_path.exists():
        save(gather(config, jobs, progress, engine), records_path)
    records = load(records_path)
    train, valid = split(records)
    if not (folder / "encoding.json").exists():
        if config.tokenizer is None:
            progress("tokenizer", 0, 1)
            texts = [t.encode() for r in train for t in (r.source, r.intent, *r.asserts)] + OBSERVATIONS * 200
            encoder = Encoder(ImpliedSpaceTokenizer.train(texts, config.vocab_size, LANGUAGE), config.encoding)
        else:
            encoder = _given_encoder(config.tokenizer, config.encoding)
        save_encoding(folder, encoder)
    if not bank_path.exists():
        fragments, _ = bank.build((r.source for r in train if not r.before), jobs=jobs, progress=progress)
        fragments.save(bank_path)
    jobs_left = _missing(config, valid=bool(valid))
    total = sum(len(_indices(job)) for job in jobs_left)
    if engine == "ray":
        there = config.model_copy(update={"folder": folder.absolute()})  # whatever folder a worker is in
        jobs_left = [(there, *job[1:]) for job in jobs_left]
        with workers(engine, jobs) as run:
            progress("shards", 0, len(jobs_left))
            for ready, _ in enumerate(run(_make_shard, jobs_left), start=1):
                progress("shards", ready, len(jobs_left))
    elif jobs == 1 or len(jobs_left) == 1 or total < FEW:
        done = itertools.count(1)
        for job in jobs_left:
            _make_shard(job, lambda: progress("examples", next(done), total))
    else:
        context = multiprocessing.get_context("spawn")
        counter = context.Value("q", 0)
        with context.Pool(jobs, initializer=_share, initargs=(counter,)) as pool:
            result = pool.map_async(_make_shard_in_pool, jobs_left, chunksize=1)
            while not result.ready():
                progress("examples", counter.value, total)
                result.wait(0.2)
            result.get()
        progress("examples", counter.value, total)
    meta = {"numbers": NUMBERS.str, "records": len(train), "valid_records": len(valid), "config": settings}
    with atomic(meta_path) as new:
        new.write_text(json.dumps(meta, indent=1))


def _given_encoder(source: Path, limits: EncodingConfig) -> Encoder:
    """The encoder of an edit model, so that its weights can be trained further, or a new one of a tokenizer.json.

    The tokenizer.json may be that of a language model, by folder or name.
    """
    try:
        folder = find(fetched(source))
        if (folder / "encoding.json").is_file():
            return load_encoding(folder, LANGUAGE, limits)
        return Encoder(read_tokenizer(folder / "tokenizer.json" if folder.is_dir() else folder, LANGUAGE), limits)
    except OSError as error:
        raise DataError(f"tokenizer = {str(source)!r} in [data] cannot be read: {error.strerror or error}") from None
    except EncodingError as error:
        raise DataError(f"tokenizer = {str(source)!r} in [data] cannot be used: {str(error).rstrip('.')}") from None


def gather(config: DataConfig, jobs: int, progress: Progress, engine: Engine = "local") -> list[Record]:
    """The functions of all sources, with tests, and the synthetic functions."""
    corpora = [fetched(source.removeprefix("corpus:")) for source in config.sources if source.startswith("corpus:")]
    for folder in corpora:
        if not folder.exists():
            raise DataError(f"{folder}: there is no such corpus; make one with kelp corpus build --out {folder}")
    sources = tuple(source for source in config.sources if not source.startswith("corpus:"))
    if sources:
        corpora.append(config.folder / "corpus")
        settings = corpus.Settings(sources, max_bytes=config.max_bytes)
        corpus.build(settings, corpora[-1], jobs=jobs, engine=engine, progress=progress)
        if config.specs == "generated":
            specify(corpora[-1], seed=config.seed, jobs=jobs, engine=engine, progress=progress)
    records = [r for folder in corpora for r in load(folder)]
    if unknown := config.repeat.keys() - {r.project for r in records}:
        raise DataError(f"repeat in [data] names projects that the sources lack: {', '.join(sorted(unknown))}")
    records = [r for r in records if (r.before == "" or config.changed) and _usable(r, config.max_bytes)]
    records = [r if not r.before or context_suffices(r) else replace(r, asserts=()) for r in records]
    if config.specs == "none":
        records = [replace(r, asserts=()) for r in records]
    if config.compositions:
        progress("compositions", 0, 1)
        records += compositions(config.compositions, config.seed, jobs)
    return records


def _usable(record: Record, max_bytes: int) -> bool:
    sources = [source for source in (record.source, record.before) if source]
    try:
        return all(len(source.encode()) <= max_bytes and parse_source(source).root != 0 for source in sources)
    except SyntaxError:
        return False


def _shard_path(config: DataConfig, part: str, number: int) -> Path:
    return config.folder / f"{part}-{number:05d}.array_record"


def _missing(config: DataConfig, *, valid: bool) -> list[tuple[DataConfig, str, int]]:
    """The shards that still have to be made."""
    wanted = {"train": config.examples, "valid": config.valid_examples if valid else 0}
    shards = [(config, part, n) for part, examples in wanted.items() for n in range(-(-examples // EXAMPLES_PER_SHARD))]
    return [shard for shard in shards if not _shard_path(*shard).exists()]


def example_maker(config: DataConfig, part: str) -> ExampleMaker:
    """The maker of the examples of a part, "train" or "valid", of a built folder; close it after use."""
    train, valid = split(load(config.folder / "records.parquet"))
    encoder = load_encoding(config.folder, LANGUAGE, config.encoding)
    fragments = Bank.load(config.folder / "bank.json.gz")
    if part == "train":
        train = [record for record in train for _ in range(config.repeat.get(record.project, 1))]
        return ExampleMaker(train, encoder, fragments, config, config.seed)
    steady = config.model_copy(update={"curriculum": "constant"})  # held-out losses are to be comparable
    return ExampleMaker(valid, encoder, fragments, steady, config.seed + 1_000_000_007)


def _indices(job: tuple[DataConfig, str, int]) -> range:
    """The indices of a shard's examples."""
    config, part, number = job
    total = config.examples if part == "train" else config.valid_examples
    return range(number * EXAMPLES_PER_SHARD, min(total, (number + 1) * EXAMPLES_PER_SHARD))


_counter: Any = None  # in a process of the pool: the number of examples made by all of them


def _share(counter: Any) -> None:
    """Set up a process of the pool."""
    global _counter
    _counter = counter


def _make_shard_in_pool(job: tuple[DataConfig, str, int]) -> None:
    def advance() -> None:
        with _counter.get_lock():
            _counter.value += 1

    _make_shard(job, advance)


def _make_shard(job: tuple[DataConfig, str, int], advance: Callable[[], object] = lambda: None) -> None:
    """Make the examples of a shard and save them; `advance` is called after each."""
    config, part, _ = job
    maker = example_maker(config, part)
    try:
        examples = []
        for index in _indices(job):
            with suppress(NoExample):
                examples.append(maker(index))
            advance()
        save_shard(examples, _shard_path(*job))
    finally:
        maker.close()
