"""How repairs go while a model is trained: a few cases, the same at every step, so that a run is judged by them."""

import random
from collections.abc import Sequence
from typing import Any

from kelp.encoding.encoder import Encoder
from kelp.evaluation.case import Case, shared_sandbox
from kelp.evaluation.corrupt import Corruption, break_all
from kelp.evaluation.metrics import Estimate, summarise
from kelp.evaluation.run_cases import Settings, solve
from kelp.search.policy import ModelPolicy
from kelp.search.task import Budget
from kelp.training.objective import Evaluation

PROGRAMS = 24
METRICS = {  # whether more is better
    **dict.fromkeys("validity repaired correct first_correct exact_match first_exact_match".split(), True),
    **dict.fromkeys("pass_rate area site_top_1 site_top_5 site_top_20 site_edit".split(), True),
    **dict.fromkeys("median_runs p90_runs median_first_seconds median_seconds".split(), False),
}


def repair_metrics(
    name: str,
    programs: Sequence[Case],
    encoder: Encoder,
    *,
    mutations: Sequence[Corruption] = (Corruption.one, Corruption.three),
    max_runs: int = 64,
    seed: int = 1,
) -> Evaluation:
    """The evaluation of a training run: metrics of `summarise`, called `name`_..., with a step's weights.

    Of many programs `PROGRAMS` are drawn. The seed is not the benchmarks', whose cases must not choose a checkpoint.
    Raises ValueError where no program can be broken.
    """
    drawn = random.Random(seed).sample(programs, min(PROGRAMS, len(programs)))
    cases, _ = break_all(drawn, mutations, seed=seed)
    if not cases:
        raise ValueError("there is no program with tests to break")
    policy = ModelPolicy(None, encoder)  # compiled once
    settings = Settings(budget=Budget(runs=max_runs, seconds=600.0, patches=1))

    def measure(denoiser: Any, step: int) -> dict[str, float]:
        policy.denoiser = denoiser
        with shared_sandbox() as sandbox:
            figures = summarise([solve(case, policy, sandbox, settings) for case in cases], max_runs)
        values = {metric: figures[metric] for metric in METRICS}
        means = {metric: value.mean if isinstance(value, Estimate) else value for metric, value in values.items()}
        return {f"{name}_{metric}": mean for metric, mean in means.items() if mean is not None}

    return Evaluation({f"{name}_{metric}": more for metric, more in METRICS.items()}, measure)
