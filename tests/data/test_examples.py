import random

import numpy as np
import pytest

from kelp.data import toy
from kelp.data.batch import INFILL, masked
from kelp.data.build import build
from kelp.data.encoding import Condition, Encoder, EncodingConfig, kind_op
from kelp.data.examples import DataConfig, ExampleMaker, make_example
from kelp.data.shards import DataError, Shards
from kelp.data.tokenizer import Tokenizer
from kelp.data.vocabulary import EDIT, END, MASK, STOP, UNTIL
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


def test_masked_places_hold_what_the_suffix_writes_and_hide_no_edit(shards):
    source, _ = shards
    rng, replaceable = np.random.default_rng(0), 2 + (source.site_kinds - 2) // 3
    holes = 0
    for index in range(len(source.train)):
        example = source.train[index]
        seen = masked(example, replaceable, rng)
        written = dict(seen.holes)
        filled = [t for at, token in enumerate(seen.tokens) for t in written.get(at, [token])]
        assert filled == list(example.tokens) and all(seen.tokens[at] == MASK for at in written)
        assert sum(2 + len(tokens) for tokens in written.values()) <= INFILL

        def shown(e, row):
            first, last, kind = np.asarray(e.rows)[row]
            return list(np.asarray(e.tokens)[first : last + 1]), kind

        assert [shown(seen, row) for row in seen.correct] == [shown(example, row) for row in example.correct]
        assert shown(seen, 0)[1] == STOP
        edited = slice(*example.span), slice(*seen.span)
        assert list(np.asarray(example.tokens)[edited[0]]) == list(np.asarray(seen.tokens)[edited[1]])
        assert (seen.written is None) == (example.written is None)
        holes += len(written)
    assert holes > len(source.train)


def test_infilled_batches_are_pure_functions_of_seed_and_step_and_keep_their_edits(shards):
    source, _ = shards
    one, again = (source.batch(3, seed=0, tokens_per_batch=1024, infill=1.0) for _ in range(2))
    plain = source.batch(3, seed=0, tokens_per_batch=1024)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert (one.suffix_segments > 1).any(axis=1).mean() > 0.8 and not (plain.suffix_segments > 1).any()
    edits = [np.where(b.suffix_segments == 1, b.suffix, 0).sum(axis=1) for b in (one, plain)]
    assert np.array_equal(*edits)
    assert (one.suffix_targets[one.suffix_segments == 0] == -1).all()


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
    for file in source.folder.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train-00000.npz").write_bytes(b"not a shard")
    with pytest.raises(DataError, match="train-00000"):
        Shards(tmp_path).batch(0, seed=0, tokens_per_batch=512)


def test_limits_of_the_encoding_are_numbers_of_tokens():
    with pytest.raises(ValueError, match="max_spec"):
        EncodingConfig(max_spec=-1)
