"""Golden values of an exported language model, from PyTorch and `transformers`: `make golden`.

Trains a tiny model for a few steps, exports it by `kelp export` as tests/lm/golden/model, has `transformers` load that
folder, compares its logits with Kelp's and stores them, so that the tests need neither library.
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from tests.lm.fake import SIZE, objective, recipe
from tests.lm.test_golden import GOLDEN, logits
from tests.model.make_golden import torch_logits

from kelp.cli.main import main as kelp
from kelp.training.loop import train


def main() -> None:
    tokens = np.random.default_rng(0).integers(0, SIZE, (2, 16))
    shutil.rmtree(GOLDEN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = recipe({"steps": 10})
        train(settings, objective(settings), out=run)
        sys.argv = ["kelp", "export", str(run), "--out", str(GOLDEN / "model"), "--dtype", "float32"]
        with contextlib.suppress(SystemExit):
            kelp()
    theirs, ours = torch_logits(GOLDEN / "model", tokens), logits(GOLDEN / "model", tokens)
    difference = np.abs(ours - theirs).max()
    print(f"transformers loads the exported language model; its logits differ by {difference:.1e}")
    assert difference < 1e-4
    np.savez_compressed(GOLDEN / "values.npz", tokens=tokens, logits=theirs)


if __name__ == "__main__":
    main()
