import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.training.checkpoint import CheckpointError, Checkpoints
from kelp.training.step import TrainState


def state(step: int) -> TrainState:
    model = {"w": jnp.arange(1000.0) + step}
    return TrainState(jnp.int32(step), model, {"mu": {"w": jnp.full(3, step)}}, None)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path) -> Path:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, score in [(1, 0.1), (2, 0.9), (3, None), (4, 0.3), (5, None)]:
        checkpoints.save(state(step), {"examples": 10 * step}, score=score)
    checkpoints.close()
    return tmp_path


def test_the_newest_and_the_best_are_kept(folder):
    checkpoints = Checkpoints(folder, keep=2)
    assert (checkpoints.newest(), checkpoints.best()) == (5, 2)
    assert {path.name for path in folder.iterdir()} == {"2", "4", "5"}


def test_a_checkpoint_is_found_by_its_step_or_its_role_and_later_ones_can_be_dropped(folder):
    checkpoints = Checkpoints(folder, keep=2)
    assert [checkpoints.find(which) for which in ("newest", "best", 4)] == [5, 2, 4]
    with pytest.raises(CheckpointError, match="lacks the checkpoint 3: it holds those of steps 2, 4, 5"):
        checkpoints.find(3)
    checkpoints.drop_after(2)
    assert (checkpoints.newest(), checkpoints.best()) == (2, 2)
    assert {path.name for path in folder.iterdir()} == {"2"}
    with pytest.raises(CheckpointError, match="lacks the checkpoint best: it holds none"):
        Checkpoints(folder.parent / "empty").find("best")


def test_a_checkpoint_restores_every_array_and_the_progress(folder):
    restored = Checkpoints(folder).restore(4, jax.eval_shape(lambda: state(0)))
    assert Checkpoints(folder).progress(4) == {"examples": 40}
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), restored, state(4)))


def test_the_weights_alone_can_be_read_back(folder):
    weights = Checkpoints(folder, read_only=True).restore_weights(2)
    assert np.array_equal(weights["w"], np.arange(1000.0) + 2)


def test_donating_the_state_right_after_saving_does_not_reach_the_checkpoint(tmp_path):
    checkpoints, current = Checkpoints(tmp_path), state(1)
    checkpoints.save(current, {})
    overwrite = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0 + 7, s), donate_argnums=0)
    for _ in range(3):
        current = overwrite(current)
    checkpoints.close()
    restored = Checkpoints(tmp_path).restore(1, jax.eval_shape(lambda: state(0)))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), restored, state(1)))


def test_saving_holds_no_second_copy_on_the_device(tmp_path, monkeypatch):
    checkpoints, current = Checkpoints(tmp_path), state(1)
    handed, manager = [], checkpoints._manager
    save = manager.save
    monkeypatch.setattr(manager, "save", lambda *a, args, **k: handed.append(args) or save(*a, args=args, **k))
    checkpoints.save(current, {})
    checkpoints.close()
    leaves = jax.tree.leaves([handed[0].weights.item, handed[0].rest.item])
    assert len(leaves) == len(jax.tree.leaves(current))
    assert {leaf.sharding.memory_kind for leaf in leaves} == {"pinned_host"}


@pytest.mark.parametrize("item", ["weights", "rest", "progress"])
@pytest.mark.slow
def test_a_damaged_checkpoint_gets_one_sentence(folder, item):
    shutil.rmtree(folder / "5" / item)
    checkpoints = Checkpoints(folder)
    with pytest.raises(CheckpointError, match=r"5 is damaged; delete that folder") as caught:
        checkpoints.restore(5, jax.eval_shape(lambda: state(0))), checkpoints.progress(5)
    assert "\n" not in str(caught.value)


def test_truncated_array_files_get_one_sentence(folder):
    for path in (folder / "5" / "weights").rglob("*"):
        if path.is_file() and path.stat().st_size > 500:
            path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoints(folder).restore(5, jax.eval_shape(lambda: state(0)))


def test_a_save_that_was_cut_short_is_not_listed(folder):
    shutil.copytree(folder / "5", folder / "6.orbax-checkpoint-tmp")
    assert Checkpoints(folder).newest() == 5


def test_a_folder_without_checkpoints_gets_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        Checkpoints(tmp_path / "nowhere", read_only=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file: checkpoints need a folder"):
        Checkpoints(tmp_path / "file")
