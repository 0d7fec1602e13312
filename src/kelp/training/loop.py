"""The training loop: batches in, checkpoints and metrics out. Killed at any time, it resumes bit for bit."""

import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kelp.model.denoiser import Denoiser, DenoiserConfig, loss
from kelp.model.folder import load_model
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import Config, ConfigError, make_model_config
from kelp.training.sharding import make_mesh, place_batch, state_shardings
from kelp.training.step import TrainState, init_state, make_optimizer, make_train_step
from kelp.training.tracker import Tracker

Evaluate = Callable[[Denoiser, int], dict[str, float]]
Window = list[tuple[int, dict[str, Any]]]  # (examples, metrics) of each step since the last row logged


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message is one sentence that says what to do."""


class Source(Protocol):
    """Training data. `batch` is a pure function of its arguments: to resume is to start at a later step."""

    @property
    def folder(self) -> Path: ...  # with the tokenizer.json that the examples were made with

    @property
    def vocab_size(self) -> int: ...

    @property
    def site_kinds(self) -> int: ...

    def batch(self, step: int, *, seed: int, tokens_per_batch: int, infill: float) -> Any: ...

    def valid_batches(self) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended. A checkpoint of `step` is there in every case."""

    step: int
    reason: Literal["done", "interrupted", "time is up"]
    best_step: int | None
    metrics: dict[str, float]  # of the last evaluation
    seconds: float


def train(
    config: Config,
    source: Source,
    *,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    out: Path | None = None,
) -> Outcome:
    """Train until the steps are done, the minutes are up, or Ctrl-C.

    `evaluate(model, step)` adds its metrics to those of the held-out batches. `resume` goes on from the
    newest checkpoint in `out`, or begins where there is none yet.
    Raises TrainingError, ConfigError, CheckpointError, ModelError.
    """
    began = time.monotonic()
    settings, out = config.training, out or config.training.out
    shape = make_model_config(config, vocab_size=source.vocab_size, site_kinds=source.site_kinds)
    try:
        mesh = make_mesh(**settings.mesh.model_dump())
    except ValueError as error:
        raise ConfigError(f"[training.mesh] {error}.") from None

    init, abstract = plan_state(config, shape, mesh)
    train_step = jax.jit(
        make_train_step(config.optimizer, settings.steps),
        donate_argnums=0,
        out_shardings=(jax.tree.map(lambda leaf: leaf.sharding, abstract), NamedSharding(mesh, PartitionSpec())),
    )

    checkpoints = Checkpoints(out / "checkpoints", keep=settings.keep)
    newest, examples, window, metrics = checkpoints.newest(), 0, Window(), dict[str, float]()
    try:
        if newest is None:
            shutil.copyfile(source.folder / "tokenizer.json", out / "tokenizer.json")  # to export without the data
            state = init(jax.random.key(settings.seed))
            if settings.initial is not None:
                state = _begin_with(settings.initial, state, shape, source)
        elif resume:
            progress = checkpoints.progress(newest)
            _check_same_run(progress["config"], config)
            state = checkpoints.restore(newest, abstract)
            examples, window, metrics = progress["examples"], progress["window"], progress["metrics"]
        else:
            raise TrainingError(f"{out} already holds a run at step {newest}: resume it, or train in another folder.")
    except BaseException:
        checkpoints.close()  # its threads would outlive the error, and complain when the interpreter ends
        raise

    start = step = newest or 0
    reason: Literal["done", "interrupted", "time is up"] = "done"
    with closing(checkpoints), Tracker(config, out, start=start) as tracker, _interrupts() as interrupted:
        clock, counted = time.monotonic(), examples
        for step, batch in batches(config, source, start=start):
            state, figures = train_step(state, place_batch(batch, mesh))
            if window:  # the host runs at most one step ahead of the devices
                jax.block_until_ready(window[-1])
            size = int((batch.tokens[:, 0] != 0).sum())
            window.append((size, figures))
            examples += size

            late = time.monotonic() - began > 60 * (settings.max_minutes or math.inf)
            done = step == settings.steps
            if done or step % settings.log_every == 0:
                window, now = to_floats(window), time.monotonic()
                speed = {"seconds": now - began, "examples_per_second": (examples - counted) / (now - clock)}
                tracker.row(step, "train", mean(window) | {"examples": examples} | speed)
                window, clock, counted = [], now, examples
            evaluated = done or late or step % settings.eval_every == 0
            if evaluated:
                metrics = held_out(state.best_model, source, mesh)
                metrics |= evaluate(state.best_model, step) if evaluate else {}
                tracker.row(step, "valid", metrics)
                clock, counted = time.monotonic(), examples
            stopped = done or late or interrupted.is_set()
            if stopped or evaluated or step % settings.checkpoint_every == 0:
                window = to_floats(window)
                progress = {
                    "config": config.model_dump(mode="json"),
                    "model": shape.to_dict(),
                    "examples": examples,
                    "window": window,
                    "metrics": metrics,
                }
                checkpoints.save(state, progress, score=score(metrics, settings.best) if evaluated else None)
            tracker.advance(step)
            if stopped:
                reason = "done" if done else "time is up" if late else "interrupted"
                break
    return Outcome(step, reason, checkpoints.best(), metrics, time.monotonic() - began)


def plan_state(
    config: Config, shape: DenoiserConfig, mesh: Mesh
) -> tuple[Callable[[jax.Array], TrainState], TrainState]:
    """The function key -> fresh state, made in place on the mesh, and its shapes with their shardings."""
    optimizer = make_optimizer(config.optimizer, config.training.steps)

    def fresh(key: jax.Array) -> TrainState:
        return init_state(Denoiser.init(shape, key=key), optimizer, config.optimizer)

    abstract = jax.eval_shape(fresh, jax.random.key(0))
    shardings = state_shardings(abstract, mesh)
    placed = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)
    return jax.jit(fresh, out_shardings=shardings), placed


def _begin_with(folder: Path, state: TrainState, shape: DenoiserConfig, source: Source) -> TrainState:
    """A fresh state with the weights of a model folder. Raises TrainingError, ModelError."""
    model, _ = load_model(folder, dtype="float32")
    same = dict.fromkeys(("compute_dtype", "remat"))  # how to compute, not what
    ours, theirs = shape.to_dict() | same, model.cfg.to_dict() | same
    if ours != theirs:
        key = next(key for key in ours if ours[key] != theirs[key])
        raise TrainingError(f"{folder} has {key} = {theirs[key]} and this run {ours[key]}: give both the same sizes.")
    if (folder / "tokenizer.json").read_bytes() != (source.folder / "tokenizer.json").read_bytes():
        raise TrainingError(
            f"{source.folder} has another tokenizer than {folder}: put tokenizer = {str(folder)!r} in [data], "
            "and make the data in another folder."
        )

    def placed(like: Denoiser) -> Denoiser:  # in buffers of its own, since a step is donated what it changes
        return jax.tree.map(lambda new, old: jax.device_put(new, old.sharding, may_alias=False), model, like)

    return state._replace(model=placed(state.model), average=state.average and placed(state.average))


def batches(config: Config, source: Source, *, start: int) -> Iterator[tuple[int, Any]]:
    """(step, batch) for steps start + 1 to the last, made ahead in one background thread."""
    import grain

    settings = config.training

    def numbered(index: int) -> tuple[int, Any]:
        batch = source.batch(
            index, seed=settings.seed, tokens_per_batch=settings.tokens_per_batch, infill=settings.infill
        )
        return index + 1, batch

    steps = grain.MapDataset.range(start, settings.steps).map(numbered)
    yield from steps.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


@jax.jit
def _valid_metrics(model: Denoiser, batch: Any) -> dict[str, jax.Array]:
    return loss(model, batch)[1]


def held_out(model: Denoiser, source: Source, mesh: Mesh) -> dict[str, float]:
    """Metrics over the held-out batches, each name with `valid_` before it."""
    window: Window = []
    for batch in source.valid_batches():
        size = int((batch.tokens[:, 0] != 0).sum())
        window.append((size, _valid_metrics(model, place_batch(batch, mesh))))
    return {f"valid_{name}": value for name, value in mean(to_floats(window)).items()} if window else {}


def to_floats(window: Window) -> Window:
    """Wait for the steps and fetch their metrics. Raises TrainingError when the loss is no longer finite."""
    fetched = [(size, {k: float(v) for k, v in figures.items()}) for size, figures in window]
    if not all(math.isfinite(figures["loss"]) for _, figures in fetched):
        raise TrainingError("The loss is no longer finite: lower learning_rate, or raise warmup, in [optimizer].")
    return fetched


def mean(window: Window) -> dict[str, float]:
    """Mean of each metric, every example counting the same."""
    total = sum(size for size, _ in window)
    return {name: sum(size * figures[name] for size, figures in window) / total for name in window[0][1]}


def score(metrics: dict[str, float], best: str) -> float:
    """The metric that picks the best checkpoint, turned so that more is better: of losses, runs and seconds less is."""
    less = best.endswith(("loss", "runs", "seconds"))
    if best not in metrics and less and metrics and not best.startswith("valid_"):
        return -math.inf  # nothing was repaired, so there is no median of it
    if best not in metrics:
        raise TrainingError(f"best = {best!r} in [training] is none of the metrics: {', '.join(metrics) or 'none'}.")
    return -metrics[best] if less else metrics[best]


def _check_same_run(saved: dict[str, Any], config: Config) -> None:
    """What decides the losses must not change within a run, but for its length."""
    ours, theirs = config.model_dump(mode="json"), Config.model_validate(saved).model_dump(mode="json")
    keys = [("model", key) for key in ours["model"]] + [("optimizer", key) for key in ours["optimizer"]]
    keys += [("data", key) for key in ours["data"] if key != "folder"]
    keys += [("training", key) for key in ("seed", "initial", "tokens_per_batch", "infill", "dtype")]
    for section, key in keys:
        new = ours[section][key]
        old = theirs[section][key]  # the default, where the run is older than the key
        if old != new:
            raise TrainingError(
                f"the run was started with {key} = {old!r} in [{section}] and cannot go on with {new!r}: "
                f"put it back, or train in another folder."
            )


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a TERM signal sets; a second Ctrl-C stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Python takes handlers there alone
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nStopping after this step, with a checkpoint. Ctrl-C again stops at once.", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
