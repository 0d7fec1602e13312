"""`kelp train` and `kelp export`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.cli.progress import progress_bar
from kelp.errors import Problem

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.training.config import Config
    from kelp.training.loop import Evaluate


class Dtype(StrEnum):
    bfloat16 = "bfloat16"
    float32 = "float32"


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A recipe, as in configs/.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint, if any.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration, defaults filled in, and exit.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder, in place of the one in the recipe.")
    ] = None,
) -> None:
    """Train a model, making its data first where that is missing.

    Checkpoints and metrics.jsonl go to the run's folder. Ctrl-C saves a checkpoint and stops. Where the recipe has
    best = "toy_repaired" (or toy_exact_match, toy_area ...), every evaluation repairs some toy tasks too, and with
    best = "corpus_correct" some of the functions that the data holds out.

    \b
    Examples:
      kelp train configs/toy.toml
      kelp train configs/toy.toml --resume
      kelp train configs/laptop.toml --out runs/second --print-config
    """
    from kelp.data.examples.shards import DataError, Shards
    from kelp.training.config import ConfigError, load_config, render_config

    try:
        settings = load_config(config)
    except ConfigError as error:
        raise Problem(str(error)) from None
    if out is not None:
        settings = settings.model_copy(update={"training": settings.training.model_copy(update={"out": out})})
    if print_config:
        print(render_config(settings), end="")
        return

    _check_best(settings.training.best)
    from kelp.data.examples.build import build

    try:
        with progress_bar() as progress:
            build(settings.data, progress=progress)
        source = Shards(settings.data.folder)
    except DataError as error:
        raise Problem(f"{str(error).rstrip('.')}.") from None

    from kelp.model.tensors import ModelError
    from kelp.repair.models import use_compilation_cache
    from kelp.training.checkpoint import CheckpointError
    from kelp.training.loop import TrainingError
    from kelp.training.loop import train as run

    use_compilation_cache()
    try:
        outcome = run(settings, source, resume=resume, evaluate=_evaluate(settings))
    except (ConfigError, DataError, CheckpointError, ModelError, TrainingError) as error:
        raise Problem(str(error)) from None
    folder = settings.training.out
    figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
    ended = f"{outcome.reason.capitalize()} at step {outcome.step} after {outcome.seconds:.0f} s"
    print(f"{ended}: {figures}" if figures else f"{ended}.")
    if outcome.reason == "done":
        print(f"Next: kelp export {folder} --out my-model")
    else:
        print(f"Next: kelp train {config}{f' --out {out}' if out else ''} --resume")
    raise typer.Exit(130 if outcome.reason == "interrupted" else 0)


def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_CHECKPOINT", help="A run's folder, for its best checkpoint, or a checkpoint's."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The model folder to write.")],
    dtype: Annotated[Dtype, typer.Option(help="How the weights are stored.")] = Dtype.bfloat16,
    average: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER", help="Take the mean with the weights of this model, from which the run began."
        ),
    ] = None,
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="That model's share of the mean; 0.5 unless told otherwise.")
    ] = None,
) -> None:
    """Write a trained model as a folder that --model takes.

    \b
    Examples:
      kelp export runs/toy --out my-model
      kelp export runs/toy/checkpoints/1000 --out my-model --dtype float32
      kelp export runs/further --average my-model --share 0.3 --out my-next-model
      kelp repair slugs.py --model my-model
    """
    from kelp.model.tensors import ModelError
    from kelp.repair.models import find
    from kelp.training.checkpoint import CheckpointError
    from kelp.training.export import export_run

    if not run.is_dir():
        raise Problem(f"{run} is no folder: give that of a training run, or of one of its checkpoints.")
    other = None if average is None else find(average)
    if other is None and (average, share) != (None, None):
        raise Problem("There is nothing to take the mean with: name a model with --average.")
    step = None
    if run.name.isdigit() and run.parent.name == "checkpoints":
        run, step = run.parents[1], int(run.name)
    try:
        step = export_run(run, out, step=step, dtype=dtype.value, average=other, share=0.5 if share is None else share)
    except (CheckpointError, ModelError) as error:
        raise Problem(str(error)) from None
    print(f"{out}: step {step} of {run}, as {dtype.value}")


def _check_best(best: str) -> None:
    """Before hours of work: is there such a metric? Raises Problem."""
    from kelp.evaluation.during_training import METRICS
    from kelp.model import denoiser

    kind, _, metric = best.partition("_")
    known = {"valid": denoiser.METRICS, "toy": METRICS, "corpus": METRICS}
    if metric not in known.get(kind, ()):
        repairs = f"toy_ or corpus_ with one of {', '.join(METRICS)}"
        losses = f"valid_ with one of {', '.join(denoiser.METRICS)}"
        raise Problem(f"best = {best!r} in [training] is no metric: give {losses}; or {repairs}.")


def _evaluate(settings: "Config") -> "Evaluate | None":
    """What is measured besides the held-out loss: repairs, where they pick the best checkpoint."""
    name = settings.training.best.partition("_")[0]
    if name == "valid":
        return None
    from kelp.encoding.encoder import Encoder
    from kelp.encoding.tokenizer import Tokenizer
    from kelp.evaluation.benchmarks import corpus, programs, toy
    from kelp.evaluation.during_training import repair_metrics

    encoder = Encoder(Tokenizer.load(settings.data.folder / "tokenizer.json"), settings.data.encoding)
    try:
        clean, _ = programs(toy() if name == "toy" else corpus(settings.data.folder))
        return repair_metrics(name, clean, encoder)
    except ValueError as error:
        raise Problem(f"best = {settings.training.best!r} in [training]: {error}.") from None
