"""Tracker of a run's metrics: metrics.jsonl always, a progress bar on a terminal, Weights & Biases when asked."""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kelp.extras import install
from kelp.files import atomic
from kelp.training.config import ConfigError, RunConfig
from kelp.training.objective import Row


class Tracker:
    """Context manager around a run.

    `start` is the step resumed from: rows of later steps are dropped. `metrics` and `unit` are the objective's.
    """

    def __init__(
        self, config: RunConfig, out: Path, *, start: int, metrics: Mapping[str, bool], unit: str = "examples"
    ) -> None:
        path = out / "metrics.jsonl"
        truncate(path, start or -1)  # not even a row of step 0, where the run begins anew
        self._file = path.open("a", encoding="utf-8")
        self._unit = unit
        self._shown = ["loss", *(name for name, more in metrics.items() if more)][:3]
        self._bar = _progress_bar(config.training.steps, start) if sys.stderr.isatty() else None
        self._wandb = _wandb_run(config, out) if config.log.wandb else None
        self._artifact = out if config.log.artifact else None

    def row(self, step: int, kind: str, metrics: Row) -> None:
        """Log one row, flushed to the operating system at once, so that a killed run loses none.

        Rows of samples are shown on the console too.
        """
        row = {"step": step, "kind": kind} | metrics
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._wandb:
            figures = {key: value for key, value in metrics.items() if isinstance(value, int | float | str)}
            self._wandb.log(figures if kind == "train" else {f"{kind}/{k}": v for k, v in figures.items()}, step=step)
        if kind == "sample":
            print(f"\n[step {step}] {metrics['prompt']}|{metrics['text']}", file=sys.stderr)
        if self._bar and kind == "train":
            shown = [f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in self._shown if name in metrics]
            speed = f"{metrics.get(f'{self._unit}_per_second', 0.0):.0f} {self._unit}/s"
            self._bar.update(self._bar.task_ids[0], figures="  ".join([*shown, speed]))

    def advance(self, step: int) -> None:
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        if self._wandb:
            if self._artifact and error is None:
                self._wandb.log_artifact(_artifact(self._artifact, self._wandb.id))
            self._wandb.finish(exit_code=int(error is not None))
        self._file.close()


class Untracked(nullcontext[None]):
    """In place of the tracker in a process that writes nothing."""

    def row(self, step: int, kind: str, metrics: Row) -> None: ...

    def advance(self, step: int) -> None: ...


def truncate(path: Path, step: int) -> None:
    """Drop the rows past `step`, and a last line that was cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    with atomic(path) as new:
        new.write_text("".join(kept), encoding="utf-8")


def _artifact(out: Path, name: str) -> Any:
    """The folder of a run, without the files that Weights & Biases keeps there."""
    import wandb

    artifact = wandb.Artifact(f"run-{name}", type="run")
    for path in sorted(out.iterdir()):
        if path.is_dir() and path.name != "wandb":
            artifact.add_dir(str(path), name=path.name)
        elif path.is_file():
            artifact.add_file(str(path))
    return artifact


def _progress_bar(steps: int, start: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
    bar = Progress(*columns, console=Console(stderr=True))
    bar.add_task("training", total=steps, completed=start, figures="compiling")
    return bar


def _wandb_run(config: RunConfig, out: Path) -> Any:
    try:
        import wandb
    except ImportError:
        raise ConfigError(f"[log] wandb is set but wandb is not installed: {install('wandb')}.") from None
    id_file = out / "wandb-id"  # a resumed run goes on with the same chart
    if not id_file.exists():
        id_file.write_text(wandb.util.generate_id())
    settings = config.model_dump(mode="json")
    return wandb.init(project=config.log.wandb, id=id_file.read_text(), resume="allow", dir=out, config=settings)
