"""A tiny source of batches, and tiny recipes of two objectives; run as a script, it trains in a process of its own.

python -m tests.training.fake OUT [--objective edit|bytes] [--steps N] [--lengths L ...] [--die-at STEP]
                                  [--mesh DATA FSDP TENSOR] [--optimizer NAME]
"""

import argparse
import json
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from tests.training.byte_model import ByteModel, ByteRecipe

from kelp.data.examples.objective import EditObjective
from kelp.data.examples.recipe import Recipe
from kelp.encoding.batch import Batch
from kelp.training.config import MeshSection, parse_config
from kelp.training.objective import Objective
from kelp.training.part import WHOLE, Part

B = TypeVar("B")

STEPS = 40
RUN = f"""
[optimizer]
warmup = 4
learning_rate = 0.01
accumulation = 2
ema_decay = 0.9

[training]
steps = {STEPS}
tokens_per_batch = 128
log_every = 3
eval_every = 16
checkpoint_every = 5
"""
EDIT = """
[model]
preset = "toy"
dim = 16
layers = 1
heads = 2
kv_heads = 2
mlp_dim = 32
pointer_dim = 16

[data]
folder = "nowhere"
sources = ["toy"]
examples = 100
"""
TIMES = ("seconds", "examples_per_second")


class FakeSource:
    """Programs of random tokens, a bucket shape a length: the edit is always to put 7 in place of the one 5."""

    vocab_size = 24
    site_kinds = 4

    def __init__(self, *, lengths: tuple[int, ...] = (8, 16), die_at: int | None = None) -> None:
        self.lengths, self.die_at = lengths, die_at
        self.folder = Path(__file__).parent

    def batch(
        self, step: int, part: Part = WHOLE, *, seed: int, tokens_per_batch: int, span_masking: float = 0.0
    ) -> Batch:
        if step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng((seed, step))
        length = int(rng.choice(self.lengths))
        size = tokens_per_batch // length - 1  # odd: no multiple of any mesh
        prefix = rng.integers(8, self.vocab_size, (size, length)).astype(np.int32)
        place = rng.integers(0, length, size)
        rows = np.arange(size)
        prefix[rows, place] = 5
        sites = np.zeros((size, length + 3, 3), np.int32)  # two rows of padding
        sites[:, 1 : length + 1, :2] = np.arange(length)[None, :, None]
        sites[:, 1 : length + 1, 2] = 2
        sites[:, 0, 2] = 1  # stop
        site_target = np.zeros(sites.shape[:2], bool)
        site_target[rows, place + 1] = True
        written = np.tile(np.array([1, 2, 7, 0], np.int32), (size, 1))  # <edit> <until> 7, padding
        positions = np.concatenate([np.tile(np.arange(length), (size, 1)), np.stack([place] * 4, 1)], 1)
        segments = np.tile(np.array([1] * length + [2, 2, 2, 0], np.int32), (size, 1))
        suffix = np.tile(np.array([length, length + 1, length + 2, 0], np.int32), (size, 1))
        targets = np.tile(np.array([-1, 7, 3, -1], np.int32), (size, 1))  # 7 <end>
        tokens = np.concatenate([prefix, written], 1)
        whole = Batch(tokens, positions.astype(np.int32), segments, sites, site_target, suffix, targets)
        return take(whole, part, empty)

    def valid_batches(self, part: Part = WHOLE) -> Iterable[Batch]:
        return [self.batch(1_000_000 + i, part, seed=0, tokens_per_batch=64) for i in range(2)]


def empty(batch: Batch, rows: int) -> Batch:
    """Examples without a prefix, with `stop` as their one site and answer."""
    found = Batch(*(np.zeros((rows, *array.shape[1:]), array.dtype) for array in batch))
    found.sites[:, 0, 2] = 1
    found.site_target[:, 0] = True
    found.targets[:] = -1
    return found


def take(batch: B, part: Part, empty: Callable[[B, int], B]) -> B:
    """A part of a batch."""
    size = len(jax.tree.leaves(batch)[0])
    own = part.rows(size)
    missing = empty(batch, max(own) + 1 - size if max(own) >= size else 0)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[own], batch, missing)


def config(**training: object) -> Recipe:
    """The tiny recipe with other values in [training]."""
    plain = parse_config(RUN + EDIT, Recipe)
    return Recipe.model_validate(plain.model_dump() | {"training": plain.training.model_dump() | training})


def edit_objective(source: FakeSource | None = None, recipe: Recipe | None = None) -> EditObjective:
    return EditObjective(recipe or config(), source or FakeSource())


def rows(out: Path) -> list[dict[str, float]]:
    """metrics.jsonl without what the clock wrote."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--objective", choices=("edit", "bytes"), default="edit")
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--mesh", type=int, nargs=3, default=(1, 1, 1))
    parser.add_argument("--lengths", type=int, nargs="+", default=(8, 16))
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.set_defaults(resume_from="newest")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    from kelp.training.loop import train

    mesh = dict(zip(("data", "fsdp", "tensor"), options.mesh, strict=True))
    recipe = parse_config(RUN, ByteRecipe) if options.objective == "bytes" else config()
    training = recipe.training.model_copy(update={"mesh": MeshSection(**mesh), "steps": options.steps})
    optimizer = replace(recipe.optimizer, name=options.optimizer)
    recipe = recipe.model_copy(update={"training": training, "optimizer": optimizer})
    objective: Objective
    if isinstance(recipe, Recipe):
        objective = edit_objective(FakeSource(lengths=tuple(options.lengths), die_at=options.die_at), recipe)
    else:
        objective = ByteModel(recipe, die_at=options.die_at)
    train(recipe, objective, out=options.out, resume=True, resume_from=options.resume_from)


if __name__ == "__main__":
    main()
