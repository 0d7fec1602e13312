"""Repair metrics during training: a few cases, the same at every step."""

import random
from collections.abc import Sequence
from typing import Any

from jax import process_count, process_index

from kelp.data.examples.recipe import Recipe
from kelp.data.record import LANGUAGE
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding
from kelp.errors import KelpError
from kelp.evaluation import benchmarks
from kelp.evaluation.case import Case
from kelp.evaluation.case_runner import shared_sandbox
from kelp.evaluation.corrupt import Corruption, break_all
from kelp.evaluation.metrics import Estimate, summarize
from kelp.evaluation.run_cases import Settings, solve
from kelp.model.inference import Denoiser
from kelp.model.leaves import named_leaves
from kelp.model.low_rank import merged
from kelp.search.model_policy import Model, ModelPolicy
from kelp.search.task import Budget
from kelp.training.distributed import gather
from kelp.training.objective import Evaluation

PROGRAMS = 24
METRICS = {  # whether more is better
    **dict.fromkeys("validity repaired correct first_correct exact_match first_exact_match".split(), True),
    **dict.fromkeys("pass_rate area site_top_1 site_top_5 site_top_20 site_edit".split(), True),
    **dict.fromkeys("median_runs p90_runs median_first_seconds median_seconds".split(), False),
}


def evaluation_of(recipe: Recipe) -> Evaluation | None:
    """Repair metrics beside the held-out loss, where one of them picks the best checkpoint.

    The data of the recipe is there already. Raises KelpError.
    """
    data, best_by = recipe.data, recipe.training.best_by
    name = best_by.partition("_")[0]
    if name == "valid":
        return None
    encoder = load_encoding(data.folder, LANGUAGE, data.encoding)
    try:
        clean, _ = benchmarks.programs(benchmarks.toy() if name == "toy" else benchmarks.corpus(data.folder))
        return repair_metrics(name, clean, encoder, scale=recipe.transfer.scale)
    except ValueError as error:
        raise KelpError(f"best_by = {best_by!r} in [training]: {error}.") from None


def repair_metrics(
    name: str,
    programs: Sequence[Case],
    encoder: Encoder,
    *,
    scale: float = 1.0,
    mutations: Sequence[Corruption] = (Corruption.one, Corruption.three),
    max_runs: int = 64,
    seed: int = 1,
) -> Evaluation:
    """Return the evaluation of a training run: metrics of `summarize`, called `name`_..., with a step's weights.

    `scale` is that of the weights' adapters, if they have any. At most `PROGRAMS` programs are drawn; processes that
    train together share the cases out. The seed is not the benchmarks', whose cases must not choose a checkpoint.
    Raises ValueError where no program can be broken.
    """
    drawn = random.Random(seed).sample(programs, min(PROGRAMS, len(programs)))
    cases, _ = break_all(drawn, mutations, seed=seed)
    if not cases:
        raise ValueError("there is no program with tests to break")
    settings = Settings(budget=Budget(runs=max_runs, seconds=600.0, patches=1))

    def measure(denoiser: Any, step: int) -> dict[str, float]:
        model = Model(Denoiser.of(denoiser.cfg, merged(named_leaves(denoiser), scale)), encoder)
        shared = cases[process_index() :: process_count()]
        with shared_sandbox() as sandbox:
            own = [solve(case, ModelPolicy(model), sandbox, settings) for case in shared]
        results = [result for each in gather(own) for result in each]
        figures = summarize(results, max_runs)
        values = {metric: figures[metric] for metric in METRICS}
        means = {metric: value.mean if isinstance(value, Estimate) else value for metric, value in values.items()}
        return {f"{name}_{metric}": mean for metric, mean in means.items() if mean is not None}

    return Evaluation({f"{name}_{metric}": more for metric, more in METRICS.items()}, measure)
