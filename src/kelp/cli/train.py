"""`kelp train` and `kelp export`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kelp.cli.progress import progress_bar
from kelp.errors import KelpError
from kelp.extras import require

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.data.examples.recipe import Recipe
    from kelp.lm.recipe import LMRecipe
    from kelp.training.loop import Outcome
    from kelp.training.objective import Evaluation, Objective
    from kelp.training.profile import Profile

MODEL = "model"  # the folder within a run's, where a chain puts the exported weights


class Dtype(StrEnum):
    bfloat16 = "bfloat16"
    float32 = "float32"


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="TOML file, folder of them, or name of a recipe that ships.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint, if any.")] = False,
    resume_from: Annotated[
        str | None,
        typer.Option(metavar="best|STEP", help="Go back to this checkpoint: later ones and their log are deleted."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a trace of a few steps, for Perfetto, TensorBoard or XProf."),
    ] = None,
    profile_steps: Annotated[
        str | None, typer.Option(metavar="A:B", help="Steps to profile, first and last (default: 11:13).")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration, defaults filled in, and exit.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run, in place of the one in the recipe.")
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where process 0 of several can be reached by the others.")
    ] = None,
    process_id: Annotated[int | None, typer.Option(metavar="N", help="Number of this process, from 0.")] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", help="Number of processes that train together.")] = None,
) -> None:
    """Train a model, making its data first where that is missing: a language model where the recipe has a section [lm].

    Checkpoints and metrics.jsonl go to the run's folder. Ctrl-C saves a checkpoint and stops. Where the recipe has
    best_by = "toy_repaired" (or toy_exact_match, toy_area ...), every evaluation repairs some toy tasks too, and with
    best_by = "corpus_correct" some of the functions that the data holds out.

    Several processes, each with devices of its own, train together: started by SLURM, SkyPilot or on the hosts of a
    TPU they find each other, elsewhere --coordinator, --process-id and --processes tell. All need the same folders.

    The recipes of a folder run in the order of their names, each to a model in its run's folder, from which the next
    one may begin. The same command again resumes, and skips the recipes that are done.

    \b
    Examples:
      kelp train tiny
      kelp train configs/toy.toml --resume
      kelp train configs/toy.toml --resume-from best
      kelp train configs/laptop.toml --out runs/second --print-config
      kelp train configs/toy.toml --out runs/profiled --profile trace --profile-steps 20:22
      kelp train configs/default
      kelp train laptop --coordinator 10.0.0.5:8476 --process-id 1 --processes 2
    """
    require("train", "kelp train")
    from kelp.bucket import local, shown
    from kelp.data.examples.recipe import find_recipe
    from kelp.training.config import render_config
    from kelp.training.distributed import Place, find_place, joined

    path, given = find_recipe(recipe), Place(coordinator, process_id, processes)
    place = given if given.coordinator else find_place()
    if path.is_dir():
        if out is not None or print_config or resume_from or profile:
            options = "--out, --print-config, --resume-from and --profile"
            raise KelpError(f"{path} is a folder of recipes: {options} take one recipe.")
        with joined(place):
            _chain(path, again=f"kelp train {recipe}")
        return
    settings, traced, origin = load_any(path), _profile(profile, profile_steps), _resume_from(resume_from)
    if out is not None:
        updated = settings.training.model_copy(update={"out": local(out)})
        settings = settings.model_copy(update={"training": updated})
    if print_config:
        print(render_config(settings), end="")
        return
    with joined(place):
        outcome = _run(settings, resume=resume or resume_from is not None, resume_from=origin, profile=traced)
        if traced:
            print(f"Profile of steps {traced.first} to {traced.last}: {traced.folder}")
        if outcome.reason == "done":
            print(f"Next: kelp export {shown(settings.training.out)} --out my-model")
        else:
            print(f"Next: kelp train {recipe}{f' --out {out}' if out else ''} --resume")
    raise typer.Exit(130 if outcome.reason == "interrupted" else 0)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_CHECKPOINT", help="Folder of a run, for its best checkpoint, or of a checkpoint."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Model folder to write.")],
    dtype: Annotated[Dtype, typer.Option(help="Type of the stored weights.")] = Dtype.bfloat16,
    merge: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER", help="Take the mean with the weights of this model, from which the run began."
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="Share of that model; 0.5 if left out."),
    ] = None,
) -> None:
    """Write a trained model as a folder that --model takes.

    \b
    Examples:
      kelp export runs/toy --out my-model
      kelp export runs/toy/checkpoints/1000 --out my-model --dtype float32
      kelp export runs/further --merge my-model --share 0.3 --out my-next-model
      kelp repair slugs.py --model my-model
    """
    require("train", "kelp export")
    from kelp.bucket import fetched, local, shown, upload
    from kelp.repair.models import find

    step = None
    if run.name.isdigit() and run.parent.name == "checkpoints":
        run, step = run.parents[1], int(run.name)
    run = fetched(run)
    if not run.is_dir():
        raise KelpError(f"{run} is no folder: give that of a training run, or of one of its checkpoints.")
    other = None if merge is None else find(merge)
    if other is None and (merge, share) != (None, None):
        raise KelpError("There is nothing to take the mean with: name a model with --merge.")
    out = local(out)
    step = _export(run, out, step=step, dtype=dtype, merge=other, share=0.5 if share is None else share)
    upload(out)
    print(f"{shown(out)}: step {step} of {shown(run)}, as {dtype.value}")


def load_any(path: Path) -> "Recipe | LMRecipe":
    """Read the recipe of an edit model or, where it has a section [lm], of a language model. Raises ConfigError."""
    from kelp.data.examples.recipe import load_recipe
    from kelp.lm.recipe import LMRecipe
    from kelp.training.config import load_config, sections

    return load_config(path, LMRecipe) if "lm" in sections(path) else load_recipe(path)


def _profile(folder: Path | None, steps: str | None) -> "Profile | None":
    """The profile that the options ask for. Raises KelpError."""
    from kelp.training.profile import Profile

    if folder is None:
        if steps is not None:
            raise KelpError("--profile-steps needs --profile, the folder to write to.")
        return None
    steps = steps or "11:13"
    match = re.fullmatch(r"(\d+):(\d+)", steps, re.ASCII)
    first, last = map(int, match.groups()) if match else (0, 0)
    if not 0 < first <= last:
        raise KelpError(f"--profile-steps {steps} is no range of steps: give the first and the last, such as 11:13.")
    return Profile(folder, first, last)


def _resume_from(text: str | None) -> "Literal['newest', 'best'] | int":
    """The checkpoint to resume from. Raises KelpError."""
    if text is None:
        return "newest"
    if text == "best":
        return "best"
    if not (text.isascii() and text.isdecimal()):
        raise KelpError(f"--resume-from {text} is neither best nor the number of a step.")
    return int(text)


def _run(
    settings: "Recipe | LMRecipe",
    *,
    resume: bool,
    resume_from: "Literal['newest', 'best'] | int" = "newest",
    profile: "Profile | None" = None,
) -> "Outcome":
    """Make the data where it is missing, and train. Raises KelpError."""
    from kelp.lm.recipe import LMRecipe
    from kelp.model.tensors import ModelError
    from kelp.training.checkpoint import kept
    from kelp.training.distributed import writer_first

    with writer_first():  # processes of one machine have one copy
        fetch_inputs(settings)
    try:
        objective, evaluation = _lm(settings) if isinstance(settings, LMRecipe) else _edits(settings)
        from kelp.training.compilation import use_compilation_cache
        from kelp.training.loop import train as run

        use_compilation_cache()
        with kept(settings.training.out):
            outcome = run(
                settings, objective, resume=resume, resume_from=resume_from, evaluation=evaluation, profile=profile
            )
    except ModelError as error:
        raise KelpError(str(error)) from None
    figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
    ended = f"{outcome.reason.capitalize()} at step {outcome.step} after {outcome.seconds:.0f} s"
    print(f"{ended}: {figures}" if figures else f"{ended}.")
    return outcome


def fetch_inputs(settings: "Recipe | LMRecipe") -> None:
    """Fetch the models that a recipe names by URL. Raises KelpError."""
    from kelp.bucket import fetch_model

    for model in (settings.training.init_from, settings.export.merge):
        if model is not None:
            fetch_model(model)


def _chain(folder: Path, *, again: str) -> None:
    """Train the recipes of a folder one after the other, and export each. Raises KelpError, ConfigError."""
    from kelp.bucket import fetch, shown, upload
    from kelp.lm.recipe import LMRecipe
    from kelp.training.distributed import writer_first

    recipes = {path: load_any(path) for path in sorted(folder.glob("*.toml"))}  # all, before hours of work
    if not recipes:
        raise KelpError(f"{folder} holds no recipe.")
    for path, settings in recipes.items():
        out = settings.training.out
        model = out / MODEL
        with writer_first():
            fetch(out)
        if (model / "config.json").is_file():
            print(f"{path}: done, {shown(model)}")
            continue
        print(f"{path}: {shown(out)}", flush=True)
        outcome = _run(settings, resume=True)
        if outcome.reason != "done":
            print(f"Next: {again}")
            raise typer.Exit(130 if outcome.reason == "interrupted" else 0)
        merge, share = settings.export.merge, settings.export.share
        with writer_first():  # the others only look for the model
            fetch(out)
            if not (model / "config.json").is_file():
                step = _export(out, model, step=None, dtype=Dtype.bfloat16, merge=merge, share=share)
                print(f"{shown(model)}: step {step} of {shown(out)}")
                upload(out)
    language = isinstance(settings, LMRecipe)
    print(f"Next: kelp lm generate {model}" if language else f"Next: kelp repair slugs.py --model {model}")


def _edits(settings: "Recipe") -> "tuple[Objective, Evaluation | None]":
    """The objective of an edit model, its data made where that is missing. Raises KelpError."""
    from kelp.bucket import worked_on
    from kelp.data.examples.build import build
    from kelp.data.examples.shards import Shards
    from kelp.training.distributed import writer_first

    _check_metric(settings.training.best_by)
    with writer_first(), worked_on(settings.data.folder), progress_bar() as progress:
        build(settings.data, progress=progress)
    source = Shards(settings.data.folder)

    from kelp.data.examples.objective import EditObjective
    from kelp.evaluation.during_training import evaluation_of

    return EditObjective(settings, source), evaluation_of(settings)


def _lm(settings: "LMRecipe") -> "tuple[Objective, Evaluation | None]":
    """The objective of a language model, its tokens made where they are missing. Raises KelpError, ModelError."""
    from kelp.bucket import worked_on
    from kelp.lm.objective import LMObjective
    from kelp.lm.stream import Stream
    from kelp.training.distributed import writer_first

    section, training = settings.data, settings.training
    rows = training.tokens_per_batch // section.length
    with writer_first(), worked_on(section.folder), progress_bar() as progress:
        source = Stream.open(section, section.load_tokenizer(), rows=rows, seed=training.seed, progress=progress)
    return LMObjective.of(settings, source), None


def _export(run: Path, out: Path, *, step: int | None, dtype: Dtype, merge: Path | None, share: float) -> int:
    """Export a run, and return the step. Raises KelpError."""
    from kelp.data.examples.objective import EditObjective
    from kelp.lm.objective import LMObjective
    from kelp.model.tensors import ModelError
    from kelp.training.export import export_run

    def revive(run: Path, progress: dict[str, Any]) -> "Objective":
        return (LMObjective if "lm" in progress["config"] else EditObjective).revive(run, progress)

    try:
        return export_run(run, out, revive, step=step, dtype=dtype.value, merge=merge, share=share)
    except ModelError as error:
        raise KelpError(str(error)) from None


def _check_metric(best_by: str) -> None:
    """Raise KelpError, before hours of work, where there is no such metric."""
    from kelp.evaluation.during_training import METRICS
    from kelp.model import denoiser

    kind, _, metric = best_by.partition("_")
    known = {"valid": denoiser.METRICS, "toy": METRICS, "corpus": METRICS}
    if metric not in known.get(kind, ()):
        repairs = f"toy_ or corpus_ with one of {', '.join(METRICS)}"
        losses = f"valid_ with one of {', '.join(denoiser.METRICS)}"
        raise KelpError(f"best_by = {best_by!r} in [training] is no metric: give {losses}; or {repairs}.")
