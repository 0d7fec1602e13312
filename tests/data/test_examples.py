import json
import shutil
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.encoding.hugging_face import byte_level
from tests.programs import PYTHON, parse

from kelp.data import toy
from kelp.data.examples.build import build, example_maker, gather
from kelp.data.examples.make import DataConfig, ExampleMaker, NoExample, make_example
from kelp.data.examples.shards import (
    EXAMPLES_PER_LENGTH,
    MAX_PADDING_SHARE,
    DataError,
    Shard,
    Shards,
    pack,
    row_lengths,
    save_shard,
    unpack,
)
from kelp.data.record import Record, load, parse_source, save
from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import SWAPS
from kelp.diffusion.mutations import KINDS
from kelp.encoding.batch import MAX_MASKED, MAX_PREFIX, MAX_SUFFIX, Example, SpanText, mask_spans
from kelp.encoding.condition import Condition, EncodingConfig
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding, read_encoding
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer
from kelp.encoding.vocabulary import STOP, EncodingError, replaceable
from kelp.syntax.edits import Edit

pytestmark = pytest.mark.slow

CLEAN = parse(b"def add(a, b):\n    return a + b")


@pytest.fixture(scope="module")
def encoder():
    texts = [t.encode() for r in toy.TRAIN for t in (r.source, r.intent, *r.asserts)]
    return Encoder(ImpliedSpaceTokenizer.train(texts, 400, PYTHON))


def state_after(old, new):
    at = CLEAN.source.index(old)
    return parse(Edit(at, at + len(old), new).apply(CLEAN.source))


def test_an_example_points_at_the_fault_and_writes_what_was_there(encoder):
    state = state_after(b"+", b"-")
    example = make_example(encoder, CLEAN, state, Condition("Add two numbers."), 0, 400)
    (row,) = example.correct
    encoded = encoder.state(state, Condition("Add two numbers."))
    assert encoded.sites[row - 1].category == "binary operator"
    [(start, end, text)] = example.edits
    assert encoder.tokenizer.decode(text) == b"+"
    assert (start, end) == encoded.span(row)


def test_every_first_edit_of_a_path_is_written_out(encoder):
    clean = parse(b"def f(a, b):\n    c = a + b\n    print(c, a)\n    return c * a")
    state = parse(b"def f(a, b):\n    c = a - b\n    print(c, a)\n    return c * b")
    example = make_example(encoder, clean, state, Condition(), 0, 400)
    assert [encoder.tokenizer.decode(text) for _, _, text in example.edits] == [b"+", b"a"]
    assert [(start, end) for start, end, _ in example.edits] == [encoder.state(state).span(r) for r in example.correct]


def test_more_edits_than_there_is_room_for_stay_correct_sites(encoder):
    clean = parse(b"def f(a):" + b"".join(b"\n    a = a + %d" % (i * i) for i in range(30)))
    state = parse(clean.source.replace(b"+", b"-"))
    example = make_example(encoder, clean, state, Condition(), 0, MAX_PREFIX)
    assert len(example.correct) > len(example.edits) > 3 and example.suffix <= MAX_SUFFIX


def test_the_clean_program_asks_for_stop(encoder):
    example = make_example(encoder, CLEAN, CLEAN, Condition(), 0, 400)
    assert list(example.correct) == [0] and not example.edits
    assert example.rows[0][2] == STOP


def test_an_example_that_is_too_long_is_left_out(encoder):
    with pytest.raises(NoExample, match="more than 5 tokens"):
        make_example(encoder, CLEAN, state_after(b"+", b"-"), Condition(), 0, 5)
    long = parse(b"def add(a, b):\n    return [" + b", ".join(b"%d" % i for i in range(100, 140)) + b"]")
    with pytest.raises(NoExample, match="an edit of more than 46 tokens"):
        make_example(encoder, long, parse(b"def add(a, b):\n    return 0"), Condition(), 0, 400)


def made(maker, index):
    with suppress(NoExample):
        return maker(index)


def test_examples_are_a_pure_function_of_seed_and_index(encoder, tmp_path):
    config = DataConfig(folder=tmp_path, sources=("toy",), examples=1, specs="own")
    bank = Bank.build([CLEAN])

    def make(indices):
        maker = ExampleMaker(toy.TRAIN, encoder, bank, config, seed=3)
        try:
            return [made(maker, i) for i in indices]
        finally:
            maker.close()

    forwards, backwards = make(range(12)), make(reversed(range(12)))
    assert forwards == backwards[::-1]
    assert len({tuple(e.tokens) for e in forwards if e is not None}) > 6


@pytest.mark.parametrize("curriculum", ["constant", "linear", "cosine"])
def test_a_curriculum_goes_from_one_mutation_to_the_weights_of_the_recipe(encoder, tmp_path, curriculum):
    config = DataConfig(folder=tmp_path, sources=("toy",), examples=1000, curriculum=curriculum, steps=(1, 0, 3),
                        observation=0.0, random_program=0.0, stop=0.0)  # fmt: skip
    assert config.weights(1.0) == (1, 0, 3) and sum(config.weights(0.25)) == pytest.approx(4)
    if curriculum != "constant":
        assert config.weights(0.0) == (4, 0, 0) and config.weights(0.5)[2] == pytest.approx(1.5)
        assert (config.weights(0.25)[2] < 0.75) == (curriculum == "cosine")
    maker = ExampleMaker(toy.TRAIN, encoder, Bank.build([CLEAN]), config, seed=0)
    early, late = ([len(maker.draw(start + i).mutations) for i in range(60)] for start in (0, 940))
    assert set(late) >= {1, 3} and (sum(early) < 90) == (curriculum != "constant")
    assert [len(maker.draw(i).mutations) for i in range(60)] == early


def test_each_part_of_the_conditioning_is_left_out_by_itself(encoder, tmp_path):
    shares = dict(intent=0.5, spec=0.5, observation=0.5)
    config = DataConfig(folder=tmp_path, sources=("toy",), examples=200, with_spec=1.0, random_program=0.2, stop=0.2,
                        **shares)  # fmt: skip
    maker = ExampleMaker(toy.TRAIN, encoder, Bank.build([CLEAN]), config, seed=0)
    try:
        draws = [maker.draw(i) for i in range(120)]
    finally:
        maker.close()
    shown = Counter((bool(d.condition.intent), bool(d.condition.asserts), bool(d.condition.observation)) for d in draws)
    assert len(shown) == 8
    assert {d.start for d in draws} == {"mutated", "stop", "random program"}
    for draw in draws:
        if draw.condition.observation:
            assert draw.condition.observation == draw.observation.render()
            assert draw.observation.ok == (draw.start == "stop")


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (dict(kinds={"typo": 1.0}), "unknown mutation kinds"),
        (dict(steps=(0.0, 0.0)), "one positive"),
        (dict(random_program=0.6, stop=0.6), "shares of one whole"),
        (dict(curriculum="steep"), "curriculum"),
    ],
)
def test_a_recipe_that_makes_no_examples_is_refused_early(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        DataConfig(folder=tmp_path, sources=("toy",), examples=1, **wrong)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    config = DataConfig(folder=folder, sources=("toy",), examples=300, valid_examples=40, vocab_size=400,
                        specs="own", observation=0.5, with_spec=1.0, random_program=0.1)  # fmt: skip
    build(config, jobs=1)
    return Shards(folder), config


def test_space_behind_a_function_is_no_part_of_it(encoder):
    state = parse_source("def f(x):\n    return (x) \n")
    clean = parse_source("def g(a, b):\n    print(a)\n    return b  \n")
    example = make_example(encoder, clean, state, Condition(), 0, 400)
    assert len(example.correct) >= 1


def test_clean_programs_may_be_written_another_way_that_passes_their_tests(encoder):
    config = DataConfig(folder="nowhere", sources=("toy",), examples=64, rewritten=1.0, with_spec=1.0, stop=1.0,
                        random_program=0.0)  # fmt: skip
    maker = ExampleMaker(toy.TRAIN, encoder, Bank({}), config, 0)
    try:
        draws = [maker.draw(index) for index in range(0, 64, 8)]
    finally:
        maker.close()
    sources = {r.name: r.source.rstrip("\n").encode() for r in toy.TRAIN}
    assert sum(draw.clean.source != sources[draw.record.name] for draw in draws) >= 3
    assert all(draw.observation is not None and draw.observation.ok for draw in draws)


def test_the_functions_of_a_project_may_count_more_often_than_others(shards, tmp_path):
    source, config = shards
    folder = Path(shutil.copytree(source.folder, tmp_path / "again"))
    first, *others = load(folder / "records.parquet")
    save([replace(first, project="mine"), *others], folder / "records.parquet")
    with closing(example_maker(config.model_copy(update={"folder": folder, "repeat": {"mine": 30}}), "train")) as maker:
        drawn = Counter(maker.draw(8 * run).record.name == first.name for run in range(60))
    assert drawn[True] > 30  # of 60, where otherwise it would be 4
    with pytest.raises(ValueError, match="repeat"):
        DataConfig(folder=tmp_path, sources=("toy",), examples=1, repeat={"mine": 0})


def test_functions_may_be_drawn_in_proportion_to_their_length(encoder):
    sources = {"one": "def one():\n    return 1\n", "ten": "def ten():\n" + "    print(1 + 2)\n" * 16}
    records = [replace(toy.TRAIN[0], name=name, source=source, asserts=()) for name, source in sources.items()]
    often = {}
    for share in (0.0, 1.0):
        config = DataConfig(folder="nowhere", sources=("toy",), examples=1, by_length=share)
        maker = ExampleMaker(records, encoder, Bank({}), config, 0)
        often[share] = Counter(maker.record(run).name for run in range(400))["ten"] / 400
    assert abs(often[0.0] - 1 / 2) < 0.1
    lengths = {name: len(source) for name, source in sources.items()}
    assert abs(often[1.0] - lengths["ten"] / sum(lengths.values())) < 0.1


def test_a_batch_is_a_pure_function_of_seed_and_step(shards):
    source, _ = shards
    one = source.batch(5, seed=1, tokens_per_batch=1024)
    again = Shards(source.folder).batch(5, seed=1, tokens_per_batch=1024)
    other = source.batch(5, seed=2, tokens_per_batch=1024)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(one, other))


def test_an_example_is_read_back_as_it_was_written(shards):
    source, _ = shards
    for index in range(len(source.train)):
        example = source.train[index]
        again = unpack(pack(example))
        assert all(np.array_equal(a, b) for a, b in zip((again.tokens, again.rows, again.correct),
                                                        (example.tokens, example.rows, example.correct)))  # fmt: skip
        edits = [[(e.start, e.end, *e.tokens) for e in one.edits] for one in (again, example)]
        assert edits[0] == edits[1]
        lengths = source.train.prefixes[index], source.train.suffixes[index], source.train.rows[index]
        assert lengths == (len(example.tokens), example.suffix, len(example.rows))


def test_masked_spans_hold_the_tokens_that_the_suffix_writes_and_hide_no_edit(shards):
    source, _ = shards
    rng, may_mask = np.random.default_rng(0), replaceable(read_encoding(source.folder).kinds)
    masks = 0
    for index in range(len(source.train)):
        example = source.train[index]
        seen = mask_spans(example, source.special, may_mask, rng, room=15)
        hidden = {start: tokens for start, _, tokens in seen.masked}
        filled = [t for at, token in enumerate(seen.tokens) for t in hidden.get(at, [token])]
        assert filled == list(example.tokens) and all(seen.tokens[at] == source.special.mask for at in hidden)
        assert sum(2 + len(tokens) for tokens in hidden.values()) <= MAX_MASKED and seen.suffix <= MAX_SUFFIX
        assert len(seen.tokens) + seen.suffix == len(example.tokens) + example.suffix + 3 * len(hidden)
        assert len(hidden) <= 5

        def shown(e, row):
            first, last, kind = np.asarray(e.rows)[row]
            return list(np.asarray(e.tokens)[first : last + 1]), kind

        assert [shown(seen, row) for row in seen.correct] == [shown(example, row) for row in example.correct]
        assert shown(seen, 0)[1] == STOP
        for here, there in zip(example.edits, seen.edits, strict=True):
            edited = slice(here.start, here.end), slice(there.start, there.end)
            assert list(np.asarray(example.tokens)[edited[0]]) == list(np.asarray(seen.tokens)[edited[1]])
            assert list(here.tokens) == list(there.tokens)
        masks += len(hidden)
    assert masks > len(source.train)


def test_a_shard_holds_ids_of_any_vocabulary_and_refuses_what_is_wider(tmp_path):
    example = Example([70_000, 3, 4_464], [(0, 0, 1), (1, 2, 300)], [1], (SpanText(1, 3, [128_255, 70_001]),))
    save_shard([example], tmp_path / "train-00000.array_record")
    read = Shard([tmp_path / "train-00000.array_record"])[0]
    assert list(read.tokens) == example.tokens and list(read.edits[0].tokens) == [128_255, 70_001]
    assert read.rows.tolist() == [[0, 0, 1], [1, 2, 300]]
    for token in (2**32, -1):
        with pytest.raises(DataError, match="no shard can store it"):
            pack(replace(example, tokens=[token]))


def test_data_whose_numbers_have_another_width_or_no_encoding_is_refused(shards, tmp_path):
    source, _ = shards
    meta = json.loads((source.folder / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(EncodingError, match=r"holds no encoding\.json, so an older Kelp made it"):
        Shards(tmp_path)
    shutil.copy(source.folder / "encoding.json", tmp_path)
    del meta["numbers"]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataError, match="stores numbers as None, not '<u4'; make it again"):
        Shards(tmp_path)


def test_batches_with_masked_spans_are_pure_functions_of_seed_and_step_and_keep_their_edits(shards):
    source, _ = shards
    one, again = (source.batch(3, seed=0, tokens_per_batch=1024, span_masking=1.0) for _ in range(2))
    plain = source.batch(3, seed=0, tokens_per_batch=1024)
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert (one.segments < 0).any(axis=1).mean() > 0.8 and not (plain.segments < 0).any()
    edits = [np.where(b.segments > 1, b.tokens, 0).sum(axis=1) for b in (one, plain)]
    assert np.array_equal(*edits)
    assert (np.take_along_axis(one.segments, one.suffix, axis=1)[one.targets >= 0] != 1).all()


def test_an_epoch_shows_every_example_of_full_batches_once(shards):
    source, _ = shards
    steps = source.epoch_steps(512)
    rows = [tuple(row) for step in range(steps) for row in source.batch(step, seed=0, tokens_per_batch=512).tokens]
    repeated = len(rows) - len(set(rows))
    assert repeated < 0.2 * len(rows)  # equal examples exist, and a small shape repeats itself


def test_with_a_curriculum_the_first_epoch_goes_through_the_examples_in_their_order(shards, tmp_path, monkeypatch):
    source, _ = shards
    monkeypatch.setattr("kelp.data.examples.shards.CURRICULUM_WINDOW", 30)
    ordered = Shards(source.folder)
    ordered.meta = {"config": {"curriculum": "linear"}}
    steps = ordered.epoch_steps(512)
    for epoch in range(2):
        plan = ordered._plan(0, epoch, 512)
        assert len(plan) == steps
        at = [chunk.mean() for _, chunk in plan]
        assert (np.corrcoef(at, range(steps))[0, 1] > 0.95) == (epoch == 0)


def test_batches_hold_suffixes_as_documented(shards):
    source, _ = shards
    kinds = read_encoding(source.folder).kinds
    for step in range(source.epoch_steps(512)):
        batch = source.batch(step, seed=0, tokens_per_batch=512)
        assert batch.site_target.any(axis=1).all()
        assert (batch.sites[:, 0, 2] == STOP).all()
        written = np.take_along_axis(batch.tokens, batch.suffix, axis=1)
        segment = np.take_along_axis(batch.segments, batch.suffix, axis=1)
        assert ((segment > 1).sum() == (batch.segments > 1).sum()) and (batch.targets[segment <= 1] == -1).all()
        for tokens, targets, segments, sites, target in zip(
            written, batch.targets, segment, batch.sites, batch.site_target
        ):
            for number in set(segments) - {0, 1}:
                own, wanted = tokens[segments == number], targets[segments == number]
                assert list(own[:2]) == [source.special.edit, source.special.until]
                assert list(wanted) == [-1, *own[2:], source.special.end]
            operations = {kinds[kind].split()[0] for kind in sites[target, 2]}
            assert (segments > 1).any() or operations <= {"delete", "stop"} or "delete" in operations


def test_held_out_batches_show_each_example_once(shards):
    source, _ = shards
    shown = sum(int((batch.segments[:, 0] == 1).sum()) for batch in source.valid_batches(tokens_per_batch=512))
    assert shown == len(source.valid)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=40),
    st.integers(1, 3000),
)
def test_row_lengths_hold_every_example_with_as_little_padding_as_asked_for(few, often):
    lengths = np.repeat(few, often)
    found = np.array(row_lengths(lengths))
    assert len(found) <= 1 + len(lengths) // EXAMPLES_PER_LENGTH and found[-1] - 8 < lengths.max() <= found[-1]
    rows = found[np.searchsorted(found, lengths)]
    enough = 1 - lengths.sum() / rows.sum() <= MAX_PADDING_SHARE
    assert enough or len(found) >= min(12, 1 + len(lengths) // EXAMPLES_PER_LENGTH, len(set(-(-lengths // 8))))


def test_an_empty_shard_is_a_shard_and_nothing_need_be_held_out(shards, tmp_path):
    source, _ = shards
    save_shard([], tmp_path / "train-00000.array_record")
    assert len(Shard([tmp_path / "train-00000.array_record"])) == 0
    for name in ("meta.json", "encoding.json", "train-00000.array_record", "train-00000.npy"):
        (tmp_path / name).write_bytes((source.folder / name).read_bytes())
    assert len(Shards(tmp_path).train) == len(source.train) and list(Shards(tmp_path).valid_batches()) == []
    (tmp_path / "train-00000.array_record").unlink()
    with pytest.raises(DataError, match="holds no shards"):
        Shards(tmp_path).batch(0, seed=0, tokens_per_batch=512)


def test_data_of_another_configuration_is_refused(shards):
    _, config = shards
    with pytest.raises(DataError, match="another configuration"):
        build(config.model_copy(update={"examples": 301}), jobs=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_progress_of_a_build_counts_examples(shards, tmp_path, jobs, monkeypatch):
    monkeypatch.setattr("kelp.data.examples.build.FEW", 0)  # processes for any number of examples
    source, config = shards
    for name in ("records.parquet", "tokenizer.json", "encoding.json", "bank.json.gz"):
        shutil.copyfile(source.folder / name, tmp_path / name)
    small = config.model_copy(update={"folder": tmp_path, "examples": 20, "valid_examples": 10})
    seen = []
    build(small, jobs=jobs, progress=lambda things, done, total: seen.append((things, done, total)))
    counts = [done for things, done, total in seen if (things, total) == ("examples", 30)]
    assert counts == sorted(counts) and counts[-1] == 30 and len(counts) > 2


def test_the_tokenizer_may_be_that_of_a_model(shards, tmp_path):
    source, config = shards
    again = config.model_copy(update={"folder": tmp_path / "data", "examples": 8, "tokenizer": source.folder})
    build(again.model_copy(update={"vocab_size": 500}), jobs=1)
    assert (tmp_path / "data/tokenizer.json").read_bytes() == (source.folder / "tokenizer.json").read_bytes()
    assert Shards(tmp_path / "data").vocab_size == source.vocab_size == 400
    assert load_encoding(tmp_path / "data", PYTHON).kinds == load_encoding(source.folder, PYTHON).kinds
    for path, sentence in ((tmp_path / "nowhere", "No such file"), (source.folder / "meta.json", "no tokenizer")):
        wrong = again.model_copy(update={"folder": tmp_path / "wrong", "tokenizer": path})
        with pytest.raises(DataError, match=f"tokenizer = .*{sentence}"):
            build(wrong, jobs=1)


def test_the_tokenizer_may_be_that_of_a_pretrained_model(shards, tmp_path):
    _, config = shards
    texts = [record.source.encode() for record in toy.TRAIN]
    (tmp_path / "tokenizer.json").write_text(byte_level(texts))
    made = config.model_copy(
        update={"folder": tmp_path / "data", "examples": 24, "tokenizer": tmp_path / "tokenizer.json"}
    )
    build(made, jobs=1)
    source, encoder = Shards(made.folder), load_encoding(made.folder, PYTHON)
    assert encoder.tokenizer.kind == "lexical pieces" and source.special.pad > 300
    batch = source.batch(0, seed=0, tokens_per_batch=512, span_masking=1.0)
    assert ((batch.tokens == source.special.pad) == (batch.segments == 0)).all() and (batch.segments < 0).any()


def test_a_damaged_shard_is_named_and_made_again_where_it_is_deleted(shards, tmp_path):
    source, config = shards
    for file in source.folder.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = tmp_path / "train-00000.array_record"
    whole = shard.read_bytes()
    for damaged in (b"not a shard", whole[: len(whole) // 2], bytes(len(whole))):
        shard.write_bytes(damaged)
        with pytest.raises(DataError, match="train-00000"):
            Shards(tmp_path).batch(0, seed=0, tokens_per_batch=512)
    shard.unlink()
    build(config.model_copy(update={"folder": tmp_path}), jobs=1)
    one, again = (Shards(folder).batch(0, seed=0, tokens_per_batch=512) for folder in (source.folder, tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(one, again))


def test_limits_of_the_encoding_are_numbers_of_tokens():
    with pytest.raises(ValueError, match="max_spec"):
        EncodingConfig(max_spec=-1)


def test_what_people_changed_is_an_example_as_it_stands(encoder, tmp_path):
    old, new = "def f(x):\n    return x - 1\n", "def f(x):\n    return x + 1\n"
    changed = Record(new, "f", "One more.", "", ("assert f(1) == 2", "assert f(2) == 3"), before=old)
    config = DataConfig(folder=tmp_path, sources=("toy",), examples=100, changed=0.5, intent=1, spec=1, observation=1)
    with closing(ExampleMaker([*toy.TRAIN, changed], encoder, Bank({}), config, 0)) as maker:
        assert changed not in maker.records
        drawn = []
        for index in range(40):
            with suppress(NoExample):
                drawn.append(maker.draw(index))
    changes = [draw for draw in drawn if draw.start == "changed"]
    assert 10 < len(changes) < 30
    for draw in changes:
        assert (draw.state.source.decode(), draw.clean.source.decode()) == (old.rstrip(), new.rstrip())
        assert draw.condition == Condition("One more.", changed.asserts, "0/2 f(1) got 0 want 2")
        (row,) = maker.encode(draw).correct
        assert encoder.state(draw.state, draw.condition).sites[row - 1].category == "binary operator"
    assert all(draw.record != changed for draw in drawn if draw.start != "changed")


def test_programs_may_be_broken_as_often_in_each_way_as_people_break_them(encoder, tmp_path):
    def kinds(people):
        config = DataConfig(
            folder=tmp_path, sources=("toy",), examples=1, people=people, steps=(1.0,), stop=0.0, random_program=0.0,
            specs="none",
        )  # fmt: skip
        with closing(ExampleMaker(toy.TRAIN, encoder, Bank({}), config, 0)) as maker:
            return Counter(maker.draw(index).mutations[0].kind for index in range(160))

    by_default, by_people = kinds(0.0), kinds(1.0)
    assert all(kind in SWAPS or KINDS[kind].breaks for kind in by_default)
    assert not by_people.keys() & set(SWAPS) and any(not KINDS[kind].breaks for kind in by_people)
    omitted = ("missing statement", "missing guard", "missing condition", "missing argument", "missing element")
    assert sum(by_people[kind] for kind in omitted) > 2 * sum(by_default[kind] for kind in omitted)
    assert by_people["comparison"] < by_default["comparison"]


def test_what_people_changed_is_left_out_unless_it_is_asked_for(tmp_path):
    old, new = "def f(x):\n    return x - 1\n", "def f(x):\n    return x + 1\n"
    save([Record(new, "f"), Record(new, "f", before=old)], tmp_path / "corpus/functions-00000.parquet")
    config = DataConfig(folder=tmp_path / "data", sources=(f"corpus:{tmp_path / 'corpus'}",), examples=1)
    assert [r.before for r in gather(config, 1, lambda *_: None)] == [""]
    config = config.model_copy(update={"changed": 0.5})
    assert [r.before for r in gather(config, 1, lambda *_: None)] == ["", old]


def test_what_reads_what_is_gone_since_is_shown_without_tests(tmp_path):
    record = Record("def f(x):\n    return x + 1\n", "f", context="", asserts=("assert f(1) == 2",))
    changed = [replace(record, before=f"def f(x):\n    return {text}\n") for text in ("x - 1", "plus(x)")]
    save(changed, tmp_path / "corpus/functions-00000.parquet")
    config = DataConfig(folder=tmp_path / "data", sources=(f"corpus:{tmp_path / 'corpus'}",), examples=1, changed=1.0)
    assert [len(r.asserts) for r in gather(config, 1, lambda *_: None)] == [1, 0]


def test_only_projects_that_there_are_can_be_repeated(tmp_path):
    save([Record("def f(x):\n    return x + 1\n", "f", project="here")], tmp_path / "corpus/functions-00000.parquet")
    config = DataConfig(
        folder=tmp_path / "data", sources=(f"corpus:{tmp_path / 'corpus'}",), examples=1, repeat={"here": 2, "mbbp": 3}
    )
    with pytest.raises(DataError, match="projects that the sources lack: mbbp"):
        gather(config, 1, lambda *_: None)
