"""What each part of the training recipe, and of what the model is shown, is worth.

    python benchmarks/ablations.py train base single-step small  # variants of configs/ablations.toml; without names all
    python benchmarks/ablations.py held-out                      # their losses on the examples that are held out
    python benchmarks/ablations.py held-out models/a models/b --data runs/data/x  # of other models, on other examples
    python benchmarks/ablations.py repairs                       # and what they repair
    python benchmarks/ablations.py plot --out docs/scaling.svg   # held-out loss by compute, and by examples there are
    python benchmarks/ablations.py shown                         # the model that ships, shown less or asked less

A variant changes the recipe in the keys that `VARIANTS` names and in nothing else: steps, batches, seed and schedule
are the same. All are measured on the held-out examples of the base recipe, and on 200 functions of its held-out
projects, each broken by one near miss (64 test runs), or on the cases of an evaluation (`--cases
runs/mbpp/cases.jsonl`). Intervals are bootstrapped, over batches and over cases; differences are paired.
"""

import argparse
import random
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import kelp.search.model_policy
from kelp.encoding.condition import Condition
from kelp.evaluation.arms import no_model
from kelp.evaluation.benchmarks import corpus, programs
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import read_cases
from kelp.evaluation.corrupt import Corruption, break_all
from kelp.evaluation.metrics import Estimate, compare, summarize
from kelp.evaluation.result import CaseResult
from kelp.evaluation.run_cases import PolicyFor, Settings, solve_all
from kelp.repair.models import load
from kelp.search.model_policy import LINT_PENALTY_NATS, DecodeConfig, Model, ModelPolicy, View
from kelp.search.policy import Policy, Proposal
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

RECIPE = Path("configs/ablations.toml")
RUNS = Path("runs/ablations")
SHIPPED = Path("src/kelp/models/default")
PROGRAMS = 200
MAX_RUNS = 64
NO_MODEL = "none-random"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "single-step": {"data": {"steps": [1.0], "examples": 40_000, "folder": "runs/data/single-step"}},
    "no-span-masking": {"objective": {"span_masking": 0.0}},
    "data-40k": {"data": {"examples": 40_000, "folder": "runs/data/40k"}},
    "data-10k": {"data": {"examples": 10_000, "folder": "runs/data/10k"}},
    "small": {"model": {"dim": 128, "layers": 4, "heads": 4, "kv_heads": 2, "mlp_dim": 352, "pointer_dim": 64}},
    "large": {"model": {"dim": 384, "layers": 6, "heads": 6, "kv_heads": 3, "mlp_dim": 1056, "pointer_dim": 192}},
}
BY_SIZE, BY_DATA = ("small", "base", "large"), ("data-10k", "data-40k", "base")
WITHOUT: dict[str, dict[str, Any]] = {
    "everything": {},
    "no intent": {"intent": ""},
    "no spec": {"asserts": ()},
    "no observation": {"observation": ""},
    "no suspicion": {"suspicion": ()},
    "the program alone": {"intent": "", "asserts": (), "observation": "", "suspicion": ()},
}


def recipe(name: str) -> str:
    """The TOML of a variant."""
    from kelp.data.examples.recipe import Recipe
    from kelp.training.config import render_config

    config = tomllib.loads(RECIPE.read_text())
    for section, changes in VARIANTS[name].items():
        config[section] |= changes
    config["training"]["out"] = str(RUNS / name)
    return render_config(Recipe.model_validate(config))


def model(name: str) -> Path:
    """The folder of a variant's model, or of one that is given by its folder."""
    return RUNS / f"{name}-model" if name in VARIANTS else Path(name)


def train(names: Sequence[str]) -> None:
    """Train and export each variant; what is there already goes on where it was."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = RUNS / f"{name}.toml"
        path.write_text(recipe(name))
        kelp = partial(subprocess.run, check=True)
        kelp([sys.executable, "-m", "kelp", "train", str(path), "--resume"])
        kelp([sys.executable, "-m", "kelp", "export", str(RUNS / name), "--out", str(model(name))])


def held_out(names: Sequence[str], folder: Path | None) -> None:
    """Losses and accuracies on the held-out examples of the base recipe, or of a data folder, and the differences."""
    import jax

    from kelp.data.examples.recipe import load_recipe
    from kelp.data.examples.shards import Shards
    from kelp.model.denoiser import loss
    from kelp.model.pretrained import load_model

    batches = list(Shards(folder or load_recipe(RECIPE).data.folder).valid_batches())
    sizes = np.asarray([int((batch.tokens[:, 0] != 0).sum()) for batch in batches])
    metrics = ("site_accuracy", "replacement_accuracy", "replacement_exact", "site_loss", "replacement_loss")
    measure = jax.jit(lambda denoiser, batch: loss(denoiser, batch)[1])
    base: dict[str, np.ndarray] = {}
    print(f"{sizes.sum()} examples in {len(batches)} batches")
    for name in names:
        denoiser, description = load_model(model(name))
        found = [{key: float(value) for key, value in measure(denoiser, batch).items()} for batch in batches]
        values = {key: np.asarray([figures[key] for figures in found]) for key in metrics}
        base = base or values
        print(f"{name}: {description['parameters']:,} parameters, {description['examples']:,} examples seen")
        for key in metrics:
            difference = _weighted(values[key] - base[key], sizes)
            print(f"  {key:22}{_weighted(values[key], sizes)}   against {names[0]} {difference}")


def _weighted(values: np.ndarray, sizes: np.ndarray) -> str:
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    means = (values * sizes)[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{(values * sizes).sum() / sizes.sum():+.3f} [{low:+.3f}, {high:+.3f}]"


def plot(out: Path) -> None:
    """Held-out loss as training goes on: of three sizes of the model, and of three of the data."""
    import json

    from matplotlib import rcParams
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    from kelp.data.examples.recipe import Recipe, load_recipe
    from kelp.data.examples.shards import Shards
    from kelp.training.config import parse_config

    rcParams |= {"svg.hashsalt": "kelp", "svg.fonttype": "none"}  # the same small file from the same figures
    tokens = load_recipe(RECIPE).training.tokens_per_batch
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    by_size, by_data = figure.subplots(1, 2, sharey=True)
    for name in dict.fromkeys(BY_SIZE + BY_DATA):
        rows = [json.loads(line) for line in (RUNS / name / "metrics.jsonl").read_text().splitlines()]
        steps, losses = zip(*((row["step"], row["valid_loss"]) for row in rows if row["kind"] == "valid"), strict=True)
        if name in BY_SIZE:
            size = json.loads((model(name) / "config.json").read_text())["parameters"]
            compute = [6 * size * tokens * step / 1e12 for step in steps]
            by_size.plot(compute, losses, "o-", label=f"{size / 1e6:.1f} M parameters")
        if name in BY_DATA:
            examples = len(Shards(parse_config(recipe(name), Recipe).data.folder).train)
            by_data.plot(steps, losses, "o-", label=f"{examples:,} examples")
    by_size.set(xscale="log", xlabel="training compute, TFLOP (6 x parameters x tokens)", ylabel="held-out loss, nats")
    by_size.xaxis.set_major_locator(FixedLocator([10, 20, 50, 100, 200, 500]))
    by_size.xaxis.set_major_formatter("{x:.0f}")
    by_size.xaxis.set_minor_locator(NullLocator())
    by_data.set(xlabel="steps of 8,192 tokens")
    for axes in (by_size, by_data):
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


class Without(Policy):
    """A policy that is shown some parts of the condition as these values."""

    def __init__(self, policy: Policy, hidden: dict[str, Any]) -> None:
        self.policy, self.hidden = policy, hidden

    def propose(self, program: Program, condition: Condition) -> Any:
        return self.policy.propose(program, replace(condition, **self.hidden))

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        return self.policy.judge(program, replace(condition, **self.hidden), edits)

    @property
    def threshold(self) -> float:
        return self.policy.threshold


class NoPointer(ModelPolicy):
    """Every site as likely as the next: the best replacement at each decides."""

    def _view(self, program: Program, condition: Condition) -> View:
        view = super()._view(program, condition)
        return view._replace(site=np.full_like(view.site, -np.log(max(1, len(view.site) - 1))))


def shown_less(name: str) -> PolicyFor:
    kelp.search.model_policy.LINT_PENALTY_NATS = 0.0 if name == "no lint" else LINT_PENALTY_NATS
    if name == NO_MODEL:
        return no_model()
    loaded = load(SHIPPED)
    if name == "no pointer":
        every_site = Model(loaded.denoiser, loaded.encoder, DecodeConfig(sites=10_000))
        return lambda case: NoPointer(every_site)
    return lambda case: Without(ModelPolicy(loaded), WITHOUT.get(name, {}))


def variant(name: str) -> PolicyFor:
    if name == NO_MODEL:
        return no_model()
    loaded = load(model(name))
    return lambda case: ModelPolicy(loaded)


def repairs(arms: dict[str, Callable[[], PolicyFor]], cases: Sequence[Case], jobs: int) -> None:
    """What each arm repairs, beside the first."""
    settings = Settings(budget=Budget(runs=MAX_RUNS, seconds=600.0))
    base: list[CaseResult] = []
    for name, make in arms.items():
        rows = list(solve_all(cases, make, settings, jobs=jobs))
        figures, base = summarize(rows, MAX_RUNS), base or rows
        versus = compare(rows, base, MAX_RUNS)
        print(
            f"{name:18} n {len(rows)}  correct {figures['correct']}  exact {figures['exact_match']}"
            f"  area {_plain(figures['area'])}  right site first {figures['site_top_1']}"
            f"  first edit there {figures['site_edit']}"
            f"  against {next(iter(arms))} {versus['difference']} (p {versus['p']:.2g})",
            flush=True,
        )


def _plain(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def held_out_cases() -> list[Case]:
    """Functions of the held-out projects, each broken by one near miss."""
    from kelp.data.examples.recipe import load_recipe

    clean, _ = programs(corpus(load_recipe(RECIPE).data.folder))
    drawn = random.Random(0).sample(clean, min(PROGRAMS, len(clean)))
    return break_all(drawn, [Corruption.one])[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "held-out", "repairs", "plot", "shown"])
    parser.add_argument("names", nargs="*", help="variants, model folders, or what is not shown; all without them")
    parser.add_argument("--data", type=Path, help="a data folder whose held-out examples are taken for held-out")
    parser.add_argument("--cases", type=Path, help="a cases.jsonl of kelp eval --out, in place of held-out functions")
    parser.add_argument("--out", type=Path, default=Path("scaling.svg"), help="where the plot goes")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    shown = [*WITHOUT, "no lint", "no pointer"]
    repaired = [NO_MODEL] * (given.what in ("repairs", "shown"))
    names = given.names or [*(shown if given.what == "shown" else VARIANTS), *repaired]
    if given.what == "train":
        train(names)
    elif given.what == "held-out":
        held_out(names, given.data)
    elif given.what == "plot":
        plot(given.out)
    else:
        cases = read_cases(given.cases)[0] if given.cases else held_out_cases()
        make = shown_less if given.what == "shown" else variant
        repairs({name: partial(make, name) for name in names}, cases, given.jobs)
