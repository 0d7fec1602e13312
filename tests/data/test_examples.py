import random

import numpy as np
import pytest

from kelp.data import toy
from kelp.data.encoding import Condition, Encoder, EncodingConfig, kind_op
from kelp.data.examples import DataConfig, ExampleMaker, build, make_example
from kelp.data.shards import DataError, Shards
from kelp.data.tokenizer import Tokenizer
from kelp.data.vocabulary import EDIT, END, STOP, UNTIL
from kelp.diffusion.bank import Bank
from kelp.syntax.edits import Edit
from kelp.syntax.program import parse

CLEAN = parse(b"def add(a, b):\n    return a + b")


@pytest.fixture(scope="module")
def encoder():
    texts = [t.encode() for r in toy.TRAIN for t in (r.source, r.intent, *r.asserts)]
    return Encoder(Tokenizer.train(texts, 400))


def state_after(old, new):
    at = CLEAN.source.index(old)
    return parse(Edit(at, at + len(old), new).apply(CLEAN.source))


def test_an_example_points_at_the_fault_and_writes_what_was_there(encoder):
    state = state_after(b"+", b"-")
    example = make_example(encoder, CLEAN, state, Condition("Add two numbers."), random.Random(0), 400)
    (row,) = example.correct
    encoded = encoder.state(state, Condition("Add two numbers."))
    assert encoded.sites[row - 1].category == "binary operator"
    assert encoder.tokenizer.decode(example.written) == b"+"
    assert example.span == encoded.span(row)


def test_the_clean_program_asks_for_stop(encoder):
    example = make_example(encoder, CLEAN, CLEAN, Condition(), random.Random(0), 400)
    assert list(example.correct) == [0] and example.written is None
    assert example.rows[0][2] == STOP


def test_an_example_that_is_too_long_is_left_out(encoder):
    assert make_example(encoder, CLEAN, state_after(b"+", b"-"), Condition(), random.Random(0), 5) is None


def test_examples_are_a_pure_function_of_seed_and_index(encoder, tmp_path):
    config = DataConfig(folder=tmp_path, sources=("toy",), examples=1, specs="own")
    bank = Bank.build([CLEAN])

    def make(indices):
        maker = ExampleMaker(toy.TRAIN, encoder, bank, config, seed=3)
        try:
            return [maker(i) for i in indices]
        finally:
            maker.close()

    forwards, backwards = make(range(12)), make(reversed(range(12)))
    assert forwards == backwards[::-1]
    assert len({tuple(e.tokens) for e in forwards if e is not None}) > 6


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    config = DataConfig(folder=folder, sources=("toy",), examples=300, valid_examples=40, vocab_size=400,
                        specs="own", observation=0.5, with_spec=1.0, random_program=0.1)  # fmt: skip
    build(config, jobs=1)
    return Shards(folder), config


def test_a_batch_is_a_pure_function_of_seed_and_step(shards):
    source, _ = shards
    one = source.batch(5, seed=1, tokens_per_batch=1024)
    again = Shards(source.folder).batch(5, seed=1, tokens_per_batch=1024)
    other = source.batch(5, seed=2, tokens_per_batch=1024)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(one, other))


def test_an_epoch_shows_every_example_of_full_batches_once(shards):
    source, _ = shards
    steps = source.epoch_steps(512)
    rows = [tuple(row) for step in range(steps) for row in source.batch(step, seed=0, tokens_per_batch=512).prefix]
    repeated = len(rows) - len(set(rows))
    assert repeated < 0.2 * len(rows)  # equal examples exist, and a small shape repeats itself


def test_batches_hold_suffixes_as_documented(shards):
    source, _ = shards
    for step in range(source.epoch_steps(512)):
        batch = source.batch(step, seed=0, tokens_per_batch=512)
        assert batch.site_target.any(axis=1).all()
        assert (batch.sites[:, 0, 2] == STOP).all()
        writes = batch.suffix[:, 0] == EDIT
        assert (batch.suffix[writes, 1] == UNTIL).all()
        assert (batch.suffix_targets[~writes] == -1).all()
        targets = batch.suffix_targets[writes]
        assert ((targets == END).sum(axis=1) == 1).all()
        shifted = np.where(targets == END, 0, targets)[:, 1:-1]
        assert (np.where(shifted > 0, batch.suffix[writes, 2:], 0) == np.where(shifted > 0, shifted, 0)).all()
        for sites, target, edits in zip(batch.sites, batch.site_target, writes):
            operations = {kind_op(kind) for kind in sites[target, 2]}
            assert edits or operations <= {"delete", ""} or "delete" in operations


def test_held_out_batches_show_each_example_once(shards):
    source, _ = shards
    shown = sum(int((batch.prefix[:, 0] != 0).sum()) for batch in source.valid_batches(512))
    assert shown == len(source.valid)


def test_data_of_another_configuration_is_refused(shards):
    _, config = shards
    with pytest.raises(DataError, match="another configuration"):
        build(config.model_copy(update={"examples": 301}), jobs=1)


def test_a_damaged_shard_is_named(shards, tmp_path):
    source, _ = shards
    for file in source.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train-00000.npz").write_bytes(b"not a shard")
    with pytest.raises(DataError, match="train-00000"):
        Shards(tmp_path).batch(0, seed=0, tokens_per_batch=512)


def test_limits_of_the_encoding_are_numbers_of_tokens():
    with pytest.raises(ValueError, match="max_spec"):
        EncodingConfig(max_spec=-1)
