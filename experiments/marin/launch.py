"""Kelp's pipeline as Marin artifacts: corpus, specs, examples, train, export, evaluations, report.

    python experiments/marin/launch.py --recipe tiny --version 2026.12.01          # print the plan
    MARIN_PREFIX=runs/marin python experiments/marin/launch.py --recipe tiny --version 2026.12.01 --run

A stage is a plain function: a frozen configuration in, the path of a folder out; run again, it keeps what is there. The
stages need Kelp alone, and only `steps` and `command` import Marin (docs/marin.md).
"""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from kelp import bucket
from kelp.errors import KelpError
from kelp.files import atomic

INPUTS = ("corpus", "examples", "run", "model", "results")  # fields of the configurations that name other folders

MODEL = "model"  # the model's folder within its artifact


@dataclass(frozen=True)
class CorpusConfig:
    """Functions of some sources."""

    sources: tuple[str, ...]
    max_bytes: int
    out: str
    jobs: int = 1


@dataclass(frozen=True)
class SpecsConfig:
    """A corpus with generated asserts."""

    corpus: str
    seed: int
    out: str
    jobs: int = 1


@dataclass(frozen=True)
class ExamplesConfig:
    """Training examples by the section [data] of a recipe, from a corpus that takes the place of its sources."""

    data: dict[str, Any]
    corpus: str | None
    out: str
    jobs: int = 1


@dataclass(frozen=True)
class TrainConfig:
    """Run of a recipe on examples."""

    recipe: dict[str, Any]
    examples: str
    out: str


@dataclass(frozen=True)
class ExportConfig:
    """Folder with `model`, from the best checkpoint of a run, or from its mean with the model `merge`."""

    run: str
    out: str
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    merge: str | None = None
    share: float = 0.5


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation of an exported model by `kelp eval`, with the benchmark and its options as the arguments."""

    benchmark: tuple[str, ...]
    model: str
    out: str
    jobs: int = 1

    def __post_init__(self) -> None:
        given = {"--model", "--out", "--jobs"}.intersection(part.partition("=")[0] for part in self.benchmark)
        if not self.benchmark or given:
            raise KelpError(
                f"An evaluation is a benchmark with its options, but for {', '.join(sorted(given)) or 'none'}."
            )


@dataclass(frozen=True)
class ReportConfig:
    """Table of several evaluations."""

    results: tuple[str, ...]
    out: str


def build_corpus(config: CorpusConfig) -> str:
    """Collect functions. Raises DataError."""
    from kelp.data.corpus import build

    settings = build.Settings(tuple(config.sources), max_bytes=config.max_bytes)
    build.build(settings, Path(config.out), jobs=config.jobs)
    return config.out


def add_specs(config: SpecsConfig) -> str:
    """Copy a corpus and generate asserts for its functions. Raises DataError."""
    from kelp.data.specs.specify import specify

    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    for path in (*sorted(Path(config.corpus).glob("functions-*.parquet")), Path(config.corpus) / "report.json"):
        if not (out / path.name).exists():
            with atomic(out / path.name) as new:
                shutil.copyfile(path, new)
    specify(out, seed=config.seed, jobs=config.jobs)
    return config.out


def build_examples(config: ExamplesConfig) -> str:
    """Make training examples. Raises DataError."""
    from kelp.data.examples.build import build
    from kelp.data.examples.make import DataConfig

    ready = [source for source in config.data["sources"] if source.startswith("corpus:")]
    sources = ready if config.corpus is None else [*ready, f"corpus:{config.corpus}"]
    build(DataConfig.model_validate(config.data | {"folder": config.out, "sources": sources}), jobs=config.jobs)
    return config.out


def train(config: TrainConfig) -> str:
    """Train to the last step, from the newest checkpoint if there is one, also in a bucket. Raises KelpError."""
    from kelp.data.examples.objective import EditObjective
    from kelp.data.examples.recipe import Recipe
    from kelp.data.examples.shards import Shards
    from kelp.evaluation.during_training import evaluation_of
    from kelp.training import loop
    from kelp.training.checkpoint import kept
    from kelp.training.compilation import use_compilation_cache

    placed = {"data": {"folder": config.examples}, "training": {"out": config.out}}
    recipe = Recipe.model_validate({name: section | placed.get(name, {}) for name, section in config.recipe.items()})
    use_compilation_cache()
    objective = EditObjective(recipe, Shards(recipe.data.folder))
    with kept(recipe.training.out):
        outcome = loop.train(recipe, objective, resume=True, evaluation=evaluation_of(recipe))
    if outcome.reason != "done":
        raise KelpError(f"The run stopped at step {outcome.step} ({outcome.reason}): run it again to go on.")
    return config.out


def export(config: ExportConfig) -> str:
    """Write a model folder, below `out` since Marin keeps files of its own there. Raises KelpError."""
    from kelp.data.examples.objective import EditObjective
    from kelp.model.store import find
    from kelp.training.export import export_run

    merge = None if config.merge is None else find(Path(config.merge))
    run, out = Path(config.run), Path(config.out) / MODEL
    export_run(run, out, EditObjective.revive, dtype=config.dtype, merge=merge, share=config.share)
    return config.out


def evaluate(config: EvaluateConfig) -> str:
    """Run `kelp eval` in a process of its own, whose sandboxes and devices are then its own too. Raises KelpError."""
    options = ["--model", str(Path(config.model) / MODEL), "--out", config.out, "--jobs", str(config.jobs)]
    done = subprocess.run(
        [sys.executable, "-m", "kelp", "eval", *config.benchmark, *options], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise KelpError(f"kelp eval {shlex.join(config.benchmark)} failed: {done.stderr.strip()}")
    return config.out


def report(config: ReportConfig) -> str:
    """Write report.json and report.md: a row for each evaluation, arm and group of cases, shares with intervals."""
    rows = []
    for folder in config.results:
        summary = json.loads((Path(folder) / "summary.json").read_text())
        for arm, groups in summary["results"].items():
            for group, found in groups.items():
                shares = {name: found[name] for name in ("repaired", "correct")}
                arm = Path(arm).name  # a model's arm is named by its folder
                rows.append({"benchmark": summary["benchmark"], "arm": arm, "group": group, "n": found["n"]} | shares)
    lines = ["| benchmark | arm | group | n | repaired | correct |", "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append("| " + " | ".join(_share(value) for value in row.values()) + " |")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("report.json", json.dumps(rows, indent=1)), ("report.md", "\n".join(lines))):
        with atomic(out / name) as new:
            new.write_text(text + "\n")
    return config.out


def _share(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.0%} [{value['low']:.0%}, {value['high']:.0%}]"
    return "-" if value is None else str(value)


def on_disk(stage: Callable[[Any], str]) -> Callable[[Any], str]:
    """`stage`, for folders at URLs too: inputs are fetched before it runs, and its output is uploaded after it.

    A training uploads its checkpoints itself.
    """

    @functools.wraps(stage)
    def run(config: Any) -> str:
        with tempfile.TemporaryDirectory(prefix="kelp-marin-") as scratch:
            local = {
                field.name: _fetched(getattr(config, field.name), Path(scratch) / field.name)
                for field in fields(config)
                if field.name in INPUTS
            }
            if "://" not in config.out or (isinstance(config, TrainConfig) and bucket.url(bucket.local(config.out))):
                return stage(replace(config, **local))
            out = Path(scratch) / "out"
            stage(replace(config, out=str(out), **local))
            filesystem, path = _filesystem(config.out)
            filesystem.put(f"{out}/", f"{path}/", recursive=True)
        return config.out

    return run


def _fetched(folder: Any, to: Path) -> Any:
    """A folder as a path on this machine; each of several."""
    if isinstance(folder, tuple):
        return tuple(_fetched(each, to / str(number)) for number, each in enumerate(folder))
    if folder is None or "://" not in folder:
        return folder
    filesystem, path = _filesystem(folder)
    to.mkdir(parents=True)
    filesystem.get(f"{path}/", f"{to}/", recursive=True)
    return str(to)


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path.rstrip("/")


# Marin


def steps(
    recipe_name: str, evaluations: Sequence[str] = ("toy",), *, tpu: str | None = None, jobs: int | None = None
) -> list[Any]:
    """The last artifacts of the pipeline of a recipe; call it in Marin's `build_context`, which gives the version.

    `tpu`, such as "v6e-4", trains in a job of its own on such a slice. Raises ConfigError, KelpError.
    """
    from fray.types import ResourceConfig
    from marin.execution.artifact import Artifact
    from marin.execution.build_context import resolve_version
    from marin.execution.lazy import ArtifactStep, StepContext
    from marin.execution.remote import remote
    from marin.experiment.namespacing import user_namespaced_name

    from kelp.data.examples.recipe import find_recipe, load_recipe

    path = find_recipe(recipe_name)
    if path.is_dir():
        raise KelpError(f"{path} is a folder of recipes: name one of them.")
    recipe = load_recipe(path)
    data, whole = recipe.data, recipe.model_dump(mode="json", exclude={"data": {"folder"}, "training": {"out"}})

    def step(
        name: str, stage: Callable[[Any], str], make: Callable[[StepContext], Any], *deps: Any, tpu: str | None = None
    ) -> Any:
        name = f"kelp/{path.stem}/{name}"
        version = resolve_version(name, None)
        run: Any = on_disk(stage)
        if tpu is not None:
            resources = ResourceConfig.with_tpu(tpu)
            run = remote(run, resources=resources, pip_dependency_groups=["marin", "tpu"])
        return ArtifactStep(
            name=user_namespaced_name(name, version),
            version=version,
            artifact_type=Artifact,
            run=run,
            build_config=make,
            deps=deps,
            runtime_args={"jobs": jobs or os.cpu_count() or 1},
        )

    corpus = None
    if sources := tuple(source for source in data.sources if not source.startswith("corpus:")):
        corpus = step(
            "corpus",
            build_corpus,
            lambda ctx: CorpusConfig(sources, data.max_bytes, ctx.output_path, ctx.runtime_arg("jobs")),
        )
        if data.specs == "generated":
            plain = corpus
            corpus = step(
                "specs",
                add_specs,
                lambda ctx: SpecsConfig(ctx.artifact_path(plain), data.seed, ctx.output_path, ctx.runtime_arg("jobs")),
                plain,
            )
    examples = step(
        "examples",
        build_examples,
        lambda ctx: ExamplesConfig(
            whole["data"], corpus and ctx.artifact_path(corpus), ctx.output_path, ctx.runtime_arg("jobs")
        ),
        *([corpus] if corpus else []),
    )
    trained = step(
        "train",
        train,
        lambda ctx: TrainConfig(whole, ctx.artifact_path(examples), ctx.output_path),
        examples,
        tpu=tpu,
    )
    merge = recipe.export.merge and str(recipe.export.merge)
    model = step(
        "model",
        export,
        lambda ctx: ExportConfig(ctx.artifact_path(trained), ctx.output_path, merge=merge, share=recipe.export.share),
        trained,
    )
    results = []
    for benchmark in evaluations:
        words = tuple(shlex.split(benchmark))
        EvaluateConfig(words, "", "")  # reports a faulty one at once
        results.append(
            step(
                f"evaluation/{re.sub(r'[^A-Za-z0-9]+', '-', benchmark)}",
                evaluate,
                lambda ctx, words=words: EvaluateConfig(
                    words, ctx.artifact_path(model), ctx.output_path, ctx.runtime_arg("jobs")
                ),
                model,
            )
        )
    if not results:
        return [model]
    paths = tuple(results)
    return [
        step(
            "report",
            report,
            lambda ctx: ReportConfig(tuple(ctx.artifact_path(result) for result in paths), ctx.output_path),
            *paths,
        )
    ]


def command() -> Any:
    """The command line: Marin's own options (--version, --override, --run, --max-concurrent), and these."""
    import click
    from marin.experiment.cli import build_options

    @click.command()
    @click.option("--recipe", default="tiny", show_default=True, help="TOML file, or name of a recipe that ships.")
    @click.option(
        "--eval", "evaluations", multiple=True, default=("toy",), show_default=True, metavar="'BENCHMARK OPTIONS'",
        help="Benchmark of kelp eval with its options, in quotes; repeatable.",
    )  # fmt: skip
    @click.option("--tpu", metavar="TYPE", help="Train in a job of its own on this slice, such as v6e-4.")
    @click.option("--jobs", type=click.IntRange(min=1), help="Processes of a stage (default: one per core).")
    @build_options
    def launch(recipe: str, evaluations: tuple[str, ...], tpu: str | None, jobs: int | None) -> list[Any]:
        """Make the data of a recipe, train, export and evaluate, each as an artifact of Marin.

        \b
        Examples:
          launch.py --recipe tiny --version 2026.12.01
          MARIN_PREFIX=runs/marin launch.py --recipe tiny --version 2026.12.01 --run
          launch.py --recipe toy --version dev --eval "toy --trials 3" --eval "cases examples/bugs" --run
          launch.py --recipe laptop --version 2026.12.01 --tpu v6e-4 --run
        """
        try:
            return steps(recipe, evaluations, tpu=tpu, jobs=jobs)
        except KelpError as error:
            raise click.ClickException(str(error)) from None

    return launch


if __name__ == "__main__":
    try:
        main = command()
    except ModuleNotFoundError as missing:
        if missing.name not in ("marin", "fray", "click"):
            raise
        sys.exit("This needs marin-core, on Python 3.12 or newer: uv sync --extra marin (docs/marin.md).")
    main()
