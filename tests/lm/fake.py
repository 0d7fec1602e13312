"""A tiny source of text and a tiny recipe; run as a script, it trains in a process of its own.

python -m tests.lm.fake OUT [--steps N] [--die-at STEP] [--mesh DATA FSDP TENSOR]
"""

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
from tests.training.fake import take
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from kelp.lm.batch import LMBatch
from kelp.lm.config import DiffusionConfig
from kelp.lm.objective import LMObjective
from kelp.lm.recipe import LMRecipe
from kelp.training.config import MeshSection, parse_config
from kelp.training.loop import train
from kelp.training.part import WHOLE, Part

END, MASK, PAD, FIRST, SIZE = 0, 1, 2, 3, 12  # special tokens, the first of the others, and the number of all
TOKENIZER = Path(__file__).parent / "tokenizer.json"
STEPS, LENGTH, ROWS = 30, 16, 5
SAMPLES = {"prompts": ["d", "e"], "every": 12, "length": 8}
RUN = f"""
[model]
dim = 16
layers = 1
heads = 2
kv_heads = 1
mlp_dim = 32

[lm]
block = 4
random_length_share = 0.2

[data]
sources = ["files:nowhere"]
tokenizer = "nowhere"
folder = "nowhere"
length = {LENGTH}

[optimizer]
warmup = 4
schedule = "constant"
learning_rate = 0.02
accumulation = 2
ema_decay = 0.9

[training]
steps = {STEPS}
tokens_per_batch = {LENGTH * ROWS}
log_every = 3
eval_every = 10
checkpoint_every = 4
"""


def recipe(training: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **lm: Any) -> LMRecipe:
    """The tiny recipe with other values in [training], [data] and [lm]."""
    other = {"training": training or {}, "data": data or {}}
    plain = parse_config(RUN, LMRecipe).model_dump(exclude={"lm"})
    own = {"lm": {"block": 4, "random_length_share": 0.2} | lm}
    return LMRecipe.model_validate(plain | {name: plain[name] | values for name, values in other.items()} | own)


def write_tokenizer(path: Path, *names: str) -> Path:
    words = ["<|endoftext|>", "<|mask|>", "<|pad|>", *(names or "abcdefghi")]
    Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, "a")).save(str(path))
    return path


def pack(*rows: list[list[int]], length: int = LENGTH) -> LMBatch:
    """Rows of documents, each given by the tokens after its first end-of-text token."""
    batch = LMBatch(*(np.zeros((len(rows), length), np.int32) for _ in range(4)))
    batch.tokens[:] = PAD
    for r, documents in enumerate(rows):
        start = 0
        for number, text in enumerate(documents, 1):
            here = slice(start, start + len(text) + 1)
            batch.tokens[r, here] = [END, *text]
            batch.document[r, here] = number
            batch.position[r, here] = np.arange(len(text) + 1)
            start = here.stop
    batch.bytes[:] = batch.tokens >= FIRST
    return batch


class FakeSource:
    """Two documents a row, each an alphabet from some letter on, and the end-of-text token."""

    origin: dict[str, Any] = {"origin": "letters"}  # noqa: RUF012

    def __init__(self, *, rows: int = ROWS, tokenizer: Path = TOKENIZER, die_at: int | None = None) -> None:
        self.tokenizer_files, self.rows, self.die_at = (tokenizer,), rows, die_at

    def report(self) -> dict[str, float]:
        return {"padding": 0.5}

    def batch(self, step: int, part: Part = WHOLE) -> LMBatch:
        if step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(step)

        def text() -> list[int]:
            start, count = rng.integers(0, SIZE - FIRST), rng.integers(2, 7)
            return [*(FIRST + (start + np.arange(count)) % (SIZE - FIRST)), END]

        whole = pack(*([text(), text()] for _ in range(self.rows)))
        return take(whole, part, lambda batch, rows: LMBatch(*(np.zeros((rows, LENGTH), np.int32) for _ in batch)))

    def valid_batches(self, part: Part = WHOLE) -> list[LMBatch]:
        return [self.batch(1_000_000, part), self.batch(1_000_001, part)]


def objective(settings: LMRecipe | None = None, **source: Any) -> LMObjective:
    return LMObjective.of(settings or recipe(), FakeSource(**source))


def config(**keys: Any) -> DiffusionConfig:
    return DiffusionConfig(**{"mask": MASK, "end": END, "pad": PAD} | keys)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--mesh", type=int, nargs=3, default=(1, 1, 1))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.set_defaults(samples_every=SAMPLES["every"])
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    mesh = MeshSection(**dict(zip(("data", "fsdp", "tensor"), options.mesh, strict=True)))
    samples = SAMPLES | {"every": options.samples_every}
    settings = recipe({"mesh": mesh.model_dump(), "steps": options.steps}, ar_share=0.3, samples=samples)
    train(settings, objective(settings, die_at=options.die_at), out=options.out, resume=True)


if __name__ == "__main__":
    main()
