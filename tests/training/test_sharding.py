import os
import subprocess
import sys

import numpy as np
import pytest
from tests.training.fake import FakeSource, edit_objective, rows

from kelp.training.sharding import make_mesh, pad_rows

pytestmark = pytest.mark.slow

MESHES = [(1, 1, 1), (2, 2, 2)]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_eight_devices_give_the_losses_of_one(tmp_path, optimizer):
    flags = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}
    runs = []
    for mesh in MESHES:
        out = tmp_path / "x".join(map(str, mesh))
        options = ["--steps", "12", "--lengths", "16", "--optimizer", optimizer, "--mesh", *map(str, mesh)]
        subprocess.run([sys.executable, "-m", "tests.training.fake", str(out), *options], env=flags, check=True)
        runs.append(rows(out))
    for other in runs[1:]:
        assert len(other) == len(runs[0])
        for ours, theirs in zip(other, runs[0], strict=True):
            assert ours.keys() == theirs.keys() and ours["step"] == theirs["step"]
            for key in ours.keys() - {"kind"}:
                assert ours[key] == pytest.approx(theirs[key], rel=2e-3, abs=1e-4), (ours["step"], key)


def test_padding_adds_examples_with_nothing_to_learn():
    batch = FakeSource().batch(0, seed=0, tokens_per_batch=128)
    padded = pad_rows(batch, 8, edit_objective().empty)
    size = len(batch.tokens)
    assert size % 8 and len(padded.tokens) % 8 == 0
    assert all(np.array_equal(old, new[:size]) for old, new in zip(batch, padded))
    assert not padded.tokens[size:].any() and (padded.targets[size:] == -1).all()
    assert padded.sites[size:, 0, 2].all() and padded.site_target[size:, 0].all()
    assert pad_rows(padded, 8, edit_objective().empty) is padded


def test_a_mesh_takes_the_devices_it_is_given_and_says_when_they_are_too_few():
    assert make_mesh().shape == {"data": 1, "fsdp": 1, "tensor": 1}
    with pytest.raises(ValueError, match="data=1 x fsdp=2 x tensor=2 needs 4 devices, and there are 1"):
        make_mesh(fsdp=2, tensor=2)
