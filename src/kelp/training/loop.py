"""Training loop: batches in, checkpoints and metrics out. Killed at any time, it resumes bit for bit."""

import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from pydantic import ValidationError

from kelp.bucket import shown, url
from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.low_rank import BASE
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import ConfigError, RunConfig
from kelp.training.distributed import check_agreed, compiled_together, is_writer, make_vote, whole_here
from kelp.training.norms import make_norms
from kelp.training.objective import Batch, Evaluation, Metrics, Model, Objective, TrainingError
from kelp.training.optimizer import make_optimizer
from kelp.training.part import Part
from kelp.training.profile import Profile, Profiler
from kelp.training.sharding import make_mesh, own_part, place_batch, state_shardings, within
from kelp.training.step import VALID_STREAM, TrainState, init_state, loss_key, make_train_step, stream
from kelp.training.tracker import Tracker, Untracked

Window = list[tuple[Any, dict[str, Any]]]  # (examples, metrics) of each step since the last row logged
REASONS: tuple[Literal["done", "interrupted", "time is up"], ...] = ("done", "interrupted", "time is up")


@dataclass(frozen=True)
class Outcome:
    """End of a run: its last step and the reason. A checkpoint of that step exists in every case."""

    step: int
    reason: Literal["done", "interrupted", "time is up"]
    best_step: int | None
    metrics: dict[str, float]  # of the last evaluation
    seconds: float


def train(
    config: RunConfig,
    objective: Objective,
    *,
    resume: bool = False,
    resume_from: Literal["newest", "best"] | int = "newest",
    evaluation: Evaluation | None = None,
    profile: Profile | None = None,
    out: Path | None = None,
) -> Outcome:
    """Train until the steps are done, the minutes are up, or Ctrl-C.

    Among several processes (`kelp.training.distributed`), each calls this alike and works on its part of every batch;
    one writes. `evaluation` adds its metrics to those of the held-out batches. `resume` goes on from the newest
    checkpoint in `out`, or begins where there is none yet; from another one, `resume_from`, it goes on as if the
    checkpoints and the log after that did not exist, and deletes them. Raises TrainingError, ConfigError,
    CheckpointError, ModelError.
    """
    began = time.monotonic()
    settings, out = config.training, out or config.training.out
    directions = {f"valid_{name}": more for name, more in objective.metrics.items()}
    directions |= evaluation.metrics if evaluation else {}
    if settings.best_by not in directions:
        names = ", ".join(directions)
        raise TrainingError(f"best_by = {settings.best_by!r} in [training] is none of the metrics: {names}.")
    try:
        mesh = make_mesh(**settings.mesh.model_dump())
    except ValueError as error:
        raise ConfigError(f"[training.mesh] {error}.") from None

    init, abstract = plan_state(config, objective, mesh)
    train_step = within(mesh, compiled_together(jit_step(config, objective, mesh, abstract)))
    weigh = compiled_together(jax.jit(objective.weight))
    part, vote = own_part(mesh), make_vote(mesh)
    held_out = make_held_out(objective, mesh, settings.seed, settings.eval_batches)
    norms = within(mesh, compiled_together(make_norms(objective)))

    checkpoints = Checkpoints(out / "checkpoints", keep=settings.keep, shared=url(out) is None)
    examples, window, metrics = 0, Window(), dict[str, float]()  # examples: before the window
    try:
        start = checkpoints.newest() if resume_from == "newest" else checkpoints.find(resume_from)
        check_agreed(
            recipe=config.model_dump(mode="json"), data=objective.description, checkpoint=start, folder=shown(out)
        )
        if profile:
            profile.check(start or 0, settings.steps)
        if start is None:
            for path in objective.files if is_writer() else ():  # for an export without the data
                shutil.copyfile(path, out / path.name)
            if settings.init_from is None:
                state = init(jax.random.key(settings.seed))
            else:
                state = begin_with(settings.init_from, config, objective, abstract)
        elif resume:
            progress = checkpoints.progress(start)
            _check_same_run(progress["config"], config)
            state = checkpoints.restore(start, abstract)
            window, metrics = progress["window"], progress["metrics"]
            examples = progress["examples"] - weight(window)
            checkpoints.drop_after(start)
        else:
            raise TrainingError(f"{out} already holds a run at step {start}: resume it, or train in another folder.")
    except BaseException:
        checkpoints.close()  # its threads would outlive the error, and complain when the interpreter ends
        raise

    fresh, start = start is None, start or 0
    step = start
    ending = 0  # place in REASONS; the greatest that any process wishes
    tracker: Tracker | Untracked = Untracked()
    if is_writer():
        tracker = Tracker(config, out, start=start, metrics=objective.metrics, unit=objective.unit)
    profiled = Profiler(profile if is_writer() else None)
    with tracker, closing(checkpoints), profiled as profiler, _interrupts() as interrupted:
        for kind, row in objective.reports(state.eval_model, 0) if fresh else ():
            tracker.row(0, kind, row)
        clock, counted = time.monotonic(), examples + weight(window)
        for step, batch in batches(objective, part, start=start, steps=settings.steps):
            profiler.begin(step)
            with jax.profiler.TraceAnnotation("data"):
                placed = place_batch(batch, mesh, part)
            if settings.norms_every and step % settings.norms_every == 0:
                found = norms(state.model, placed, loss_key(settings.seed, step - 1))
                tracker.row(step, "norms", {name: float(value) for name, value in found.items()})
            with jax.profiler.StepTraceAnnotation("step", step_num=step):
                state, figures = train_step(state, placed)
            if peaks := profiler.end(step, state):
                tracker.row(step, "memory", peaks)
            if window:  # the host runs at most one step ahead of the devices
                jax.block_until_ready(window[-1])
            window.append((weigh(placed), figures))
            timed_out = time.monotonic() - began > 60 * (settings.max_minutes or math.inf)
            ending = vote(2 if timed_out else 1 if interrupted.is_set() else 0)
            done = step == settings.steps
            if done or step % settings.log_every == 0:
                window, now = to_floats(window), time.monotonic()
                examples += weight(window)
                speed = {"seconds": now - began, f"{objective.unit}_per_second": (examples - counted) / (now - clock)}
                tracker.row(step, "train", mean(window) | {objective.unit: examples} | speed)
                window, clock, counted = [], now, examples
            for kind, row in objective.reports(state.eval_model, step):
                tracker.row(step, kind, row)
            evaluated = settings.eval_every > 0 and (done or ending == 2 or step % settings.eval_every == 0)
            if evaluated:
                metrics = held_out(state.eval_model)
                metrics |= evaluation.measure(whole_here(state.eval_model), step) if evaluation else {}
                tracker.row(step, "valid", metrics)
                window = to_floats(window)
                clock, counted = time.monotonic(), examples + weight(window)
            stopped = done or ending > 0
            if stopped or evaluated or step % settings.checkpoint_every == 0:
                window = to_floats(window)
                progress = {
                    "config": config.model_dump(mode="json"),
                    "description": objective.description,
                    "examples": examples + weight(window),
                    "window": window,
                    "metrics": metrics,
                }
                best = score(metrics, settings.best_by, more=directions[settings.best_by]) if evaluated else None
                checkpoints.save(state, progress, score=best)
            tracker.advance(step)
            if stopped:
                ending = 0 if done else ending
                break
    return Outcome(step, REASONS[ending], checkpoints.best(), metrics, time.monotonic() - began)


# XLA for the CPU drops the barriers around a recomputation before it merges equal expressions, which undoes `remat`.
KEEP_REMAT = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def jit_step(config: RunConfig, objective: Objective, mesh: Mesh, state: TrainState) -> Any:
    """The jitted step, to call `within` the mesh; `state` has shapes with their shardings. It overwrites the state."""
    step = make_train_step(objective, config.optimizer, config.training.steps, config.training.seed)
    kept = jax.tree.map(lambda leaf: leaf.sharding, state), NamedSharding(mesh, PartitionSpec())
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    return jax.jit(step, donate_argnums=0, out_shardings=kept, compiler_options=KEEP_REMAT if on_cpu else None)


def plan_state(
    config: RunConfig, objective: Objective, mesh: Mesh
) -> tuple[Callable[[jax.Array], TrainState], TrainState]:
    """Return the function from a key to a fresh state on the mesh, and the state's shapes with their shardings."""
    optimizer = make_optimizer(config.optimizer, config.training.steps, objective.no_decay)

    def fresh(key: jax.Array) -> TrainState:
        return init_state(objective.init(key), optimizer, config.optimizer)

    abstract = jax.eval_shape(fresh, jax.random.key(0))
    shardings = state_shardings(abstract, mesh)
    placed = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)
    return jax.jit(fresh, out_shardings=shardings), placed


def begin_with(folder: Path, config: RunConfig, objective: Objective, abstract: TrainState) -> TrainState:
    """A fresh state with the weights of a model, of which an adapted projection takes its base.

    `abstract` is the state's shape with its shardings. Only weights that the model lacks are drawn at random.
    Raises ModelError, TrainingError.
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # whole, so not on a device of the mesh
        weights = objective.load(folder)
    shapes = named_leaves(abstract.model)
    drawn = {name: shape.sharding for name, shape in shapes.items() if name.removesuffix(BASE) not in weights}

    @partial(jax.jit, out_shardings=drawn)
    def draw(key: jax.Array) -> dict[str, jax.Array]:
        leaves = named_leaves(objective.init(key))
        return {name: leaves[name] for name in drawn}

    def place(name: str, shape: jax.ShapeDtypeStruct) -> jax.Array:  # a copy: a step overwrites the state's arrays
        stored = weights[name.removesuffix(BASE)]

        def copy(part: Any) -> np.ndarray:
            return np.array(stored[part], shape.dtype)

        return jax.make_array_from_callback(shape.shape, shape.sharding, copy)

    random = draw(jax.random.key(config.training.seed))
    leaves = {name: random[name] if name in drawn else place(name, shape) for name, shape in shapes.items()}
    optimizer = make_optimizer(config.optimizer, config.training.steps, objective.no_decay)

    @partial(jax.jit, donate_argnums=0, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract))
    def begin(model: Model) -> TrainState:
        return init_state(model, optimizer, config.optimizer)

    return begin(with_leaves(abstract.model, leaves))


def batches(objective: Objective, part: Part, *, start: int, steps: int) -> Iterator[tuple[int, Batch]]:
    """(step, part of its batch) for steps start + 1 to the last, made ahead in one background thread."""
    import grain

    def make(index: int) -> tuple[int, Batch]:
        with jax.profiler.TraceAnnotation("data"):
            return index + 1, objective.batch(index, part)

    indices = grain.MapDataset.range(start, steps).map(make)
    yield from indices.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def make_held_out(
    objective: Objective, mesh: Mesh, seed: int, count: int | None = None
) -> Callable[[Model], dict[str, float]]:
    """Return the function from a model to its metrics over the held-out batches, each name with `valid_` before it.

    `count` takes the first ones alone.
    """

    @jax.jit
    def measure(model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        return objective.weight(batch), objective.loss(model, batch, key)[1]

    part, run = own_part(mesh), within(mesh, compiled_together(measure))

    def held_out(model: Model) -> dict[str, float]:
        window: Window = []
        for number, batch in enumerate(islice(objective.valid_batches(part), count)):
            key = jax.random.fold_in(stream(seed, VALID_STREAM), number)
            window.append(run(model, place_batch(batch, mesh, part), key))
        return {f"valid_{name}": value for name, value in mean(to_floats(window)).items()}

    return held_out


def to_floats(window: Window) -> Window:
    """Wait for the steps and fetch their weights and metrics, but for NaN: a batch may hold nothing to measure.

    Raises TrainingError when the loss is no longer finite.
    """
    fetched = [(int(size), {name: float(value) for name, value in figures.items()}) for size, figures in window]
    if not all(math.isfinite(figures["loss"]) for _, figures in fetched):
        raise TrainingError("The loss is no longer finite: lower learning_rate, or raise warmup, in [optimizer].")
    return [(size, {name: v for name, v in figures.items() if not math.isnan(v)}) for size, figures in fetched]


def weight(window: Window) -> int:
    """Number of examples in the steps that were fetched."""
    return sum(size for size, _ in window)


def mean(window: Window) -> dict[str, float]:
    """Mean of each metric over the steps that have it, every example counting the same."""
    means = {}
    for name in dict.fromkeys(name for _, figures in window for name in figures):
        having = [(size, figures[name]) for size, figures in window if name in figures]
        means[name] = sum(size * value for size, value in having) / sum(size for size, _ in having)
    return means


def score(metrics: dict[str, float], best_by: str, *, more: bool) -> float:
    """The metric that picks the best checkpoint, turned so that more is better; -inf where it has no value."""
    if best_by not in metrics:
        return -math.inf
    return metrics[best_by] if more else -metrics[best_by]


def _check_same_run(saved: dict[str, Any], config: RunConfig) -> None:
    """Raise TrainingError where a value that decides the losses has changed within a run."""
    try:
        before = type(config).model_validate(saved).deciding()  # a key newer than the run has its default
    except ValidationError:
        raise TrainingError("the run was started by an older Kelp with other keys: train in another folder.") from None
    for section, values in config.deciding().items():
        for key, new in values.items():
            if (old := before[section][key]) != new:
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
        if not is_writer():
            return
        print("\nStopping after this step, with a checkpoint. Ctrl-C again stops at once.", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
