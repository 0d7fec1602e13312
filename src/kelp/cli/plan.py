"""`kelp plan`: memory and speed of a training run on devices that are not there."""

import json
import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.errors import KelpError
from kelp.extras import require

if TYPE_CHECKING:
    from kelp.data.examples.recipe import Recipe
    from kelp.lm.recipe import LMRecipe
    from kelp.training.plan import Chip, Plan

UNITS = {"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class ChipName(StrEnum):
    v4 = "v4"
    v5p = "v5p"
    h100 = "h100"


def plan(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="TOML file, or name of a recipe that ships.")],
    devices: Annotated[int, typer.Option(metavar="N", min=1, help="Number of devices.")] = 8,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of a device, such as 32GB (default: the chip's).")
    ] = None,
    chip: Annotated[ChipName, typer.Option(help="Chip whose peak rates the estimate of the speed uses.")] = ChipName.v4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate what a run takes on each device, and whether it fits: bytes, operations, collectives, best speed.

    Compiles the training step for that many devices, none of which is needed, nor data or a model. The exit status is
    1 if the run does not fit.

    \b
    Examples:
      kelp plan tpu_v4_8 --devices 4
      kelp plan my-recipe.toml --devices 64 --memory 32GB
      kelp plan my-recipe.toml --devices 8 --chip h100 --json
    """
    require("train", "kelp plan")
    # Before JAX starts.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["JAX_PLATFORMS"] = "cpu"

    from kelp.cli.train import fetch_inputs, load_any
    from kelp.data.examples.recipe import find_recipe
    from kelp.model.tensors import ModelError
    from kelp.training.config import ConfigError
    from kelp.training.plan import CHIPS, plan_step
    from kelp.training.sharding import make_mesh

    peaks = CHIPS[chip.value]
    room = _bytes(memory) if memory else peaks.memory
    path = find_recipe(recipe)
    if path.is_dir():
        raise KelpError(f"{path} is a folder of recipes: kelp plan takes one recipe.")
    settings = load_any(path)
    fetch_inputs(settings)
    try:
        mesh = make_mesh(**settings.training.mesh.model_dump())
    except ValueError as error:
        raise ConfigError(f"[training.mesh] {error}.") from None
    try:
        objective, batch = _abstract(settings)
        made = plan_step(settings, objective, batch, mesh)
    except ModelError as error:
        raise KelpError(str(error)) from None
    fits = made.bytes <= room
    if as_json:
        print(json.dumps(made.to_dict(peaks) | {"memory": room, "fits": fits}))
    else:
        _show(made, peaks, chip.value, room)
    raise typer.Exit(0 if fits else 1)


def _abstract(settings: "Recipe | LMRecipe") -> tuple[Any, Any]:
    """Return a recipe's objective without data and the shapes of its largest batch. Raises KelpError, ModelError."""
    import jax
    import numpy as np

    from kelp.lm.recipe import LMRecipe

    def array(*shape: int, dtype: Any = np.int32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype)

    tokens = settings.training.tokens_per_batch
    if isinstance(settings, LMRecipe):
        from kelp.lm.batch import LMBatch
        from kelp.lm.loss import Schedule
        from kelp.lm.objective import LMObjective

        rows, length, joint = tokens // settings.data.length, settings.data.length, settings.lm.objective == "joint"
        schedule = Schedule(
            array(rows, dtype=np.float32) if joint else None, array(rows) if settings.transfer.blocks else None
        )
        return LMObjective.without_data(settings), (LMBatch(*(array(rows, length),) * 4), schedule)
    from kelp.data.examples.objective import EditObjective
    from kelp.data.record import LANGUAGE
    from kelp.encoding.batch import MAX_SUFFIX, Batch
    from kelp.encoding.vocabulary import site_kinds

    length = settings.data.max_prefix + MAX_SUFFIX
    rows = max(1, tokens // length)
    objective = EditObjective.without_data(settings, settings.data.vocab_size, len(site_kinds(LANGUAGE)))
    row, suffix = array(rows, length), array(rows, MAX_SUFFIX)
    sites = array(rows, length, 3), array(rows, length, dtype=bool)  # about as many as tokens
    return objective, Batch(row, row, row, *sites, suffix, suffix)


def _show(plan: "Plan", chip: "Chip", name: str, room: float) -> None:
    devices = plan.mesh["data"] * plan.mesh["fsdp"] * plan.mesh["tensor"]
    compute, network = plan.seconds(chip)
    low, high = plan.mfu(chip)
    print(f"{plan.parameters:,} parameters, {' x '.join(f'{k}={v}' for k, v in plan.mesh.items())}")
    print(f"state        {_gib(plan.state_bytes)}  a device: weights, moments, averages")
    print(f"batch        {_gib(plan.batch_bytes)}")
    print(f"temporary    {_gib(plan.temporary_bytes)}  at the peak, as XLA plans it on the CPU")
    for kind, found in plan.collectives.items():
        print(f"{kind:<20} {found.count:>6} of {_gib(found.bytes).strip()} in all")
    print(f"operations   {plan.step_flops / devices / 1e12:.2f} TFLOP a device and step")
    print(f"{name}: {compute:.3f} s for products, {network:.3f} s for collectives; MFU {low:.0%} to {high:.0%} at best")
    verdict = "fits" if plan.bytes <= room else "does not fit"
    print(f"It {verdict}: {_gib(plan.bytes).strip()} of {_gib(room).strip()} a device.")


def _gib(size: float) -> str:
    return f"{size / 2**30:9.3f} GiB"


def _bytes(text: str) -> float:
    """Return the bytes of a size such as 32GB. Raises KelpError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if not match or float(match[1]) == 0:
        raise KelpError(f"--memory {text} is no size: give one such as 32GB or 80GiB.")
    return float(match[1]) * UNITS[(match[2] or "").upper()]
