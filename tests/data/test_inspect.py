from contextlib import closing

import numpy as np
import pytest
from tests.programs import PYTHON, parse

from kelp.data import toy
from kelp.data.examples.inspect import View, diff, padding, tables, view
from kelp.data.examples.make import DataConfig, ExampleMaker
from kelp.data.examples.shards import Bucket
from kelp.diffusion.bank import Bank
from kelp.encoding.encoder import Encoder
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> list[View]:
    texts = [t.encode() for r in toy.TRAIN for t in (r.source, r.intent, *r.asserts)]
    encoder = Encoder(ImpliedSpaceTokenizer.train(texts, 400, PYTHON))
    config = DataConfig(folder=tmp_path_factory.mktemp("data"), sources=("toy",), examples=100, random_program=0.1,
                        stop=0.1, with_spec=1.0, max_prefix=150)  # fmt: skip
    bank = Bank.build([parse(b"def add(a, b):\n    return a + b")])
    with closing(ExampleMaker(toy.TRAIN, encoder, bank, config, seed=0)) as maker:
        return [view(maker, i) for i in range(100)]


@pytest.mark.slow
def test_the_way_back_leads_to_the_clean_program_and_begins_with_a_right_answer(views):
    for v in views:
        source = v.state.encode()
        for step in v.path:
            assert source[step.start : step.end].decode() == step.old
            source = source[: step.start] + step.new.encode() + source[step.end :]
        assert source.decode() == v.clean
        assert bool(v.path) == bool(v.targets) == (v.start != "stop")
        if v.path:
            first = v.path[0]
            assert (first.line, first.old, first.new) in {(t.line, t.old, t.new) for t in v.targets}


def test_what_the_model_sees_holds_the_parts_that_are_shown_and_marks_the_right_sites(views):
    names = {"intent": "<intent>", "spec": "<spec>", "observation": "<obs>"}
    for v in (v for v in views if v.dropped is None):
        special = [token.text for token in v.sees if token.special]
        assert [part for part, name in names.items() if name in special] == list(v.shows)
        assert len(v.sees) == v.prefix and any(token.mark for token in v.sees) == (v.start != "stop")
        assert v.edits == sum(target.written for target in v.targets)


def test_a_diff_shows_the_whole_function(views):
    for v in views:
        lines = diff(v)
        assert [line[1:] for line in lines if line[0] != "+"] == v.clean.splitlines()
        assert [line[1:] for line in lines if line[0] != "-"] == v.state.splitlines()


def test_the_tables_count_every_example(views):
    found = tables(views)
    kept = [v for v in views if v.dropped is None]
    assert 0 < len(kept) < len(views)
    assert sum(row["examples"] for row in found["dropped"]) == len(views)
    assert sum(row["examples"] for row in found["states"]) == len(views)
    assert sum(row["mutations"] for row in found["mutation kinds"]) == sum(len(v.kinds) for v in views)
    for column in ("mutations", "path back", "right first edits"):
        assert sum(row[column] for row in found["edits"]) == pytest.approx(1)
    mutated = next(row for row in found["states"] if row["start"] == "mutated")
    broken = [v.breaks for v in views if v.start == "mutated" and v.breaks is not None]
    assert mutated["break a test"] == sum(broken) / len(broken) > 0.5
    assert next(row for row in found["tokens"] if row["of"] == "prefix")["most"] == max(v.prefix for v in kept)
    assert tables([])["mutation kinds"] == []


def test_padding_is_counted_by_tokens():
    class Lengths:
        lengths, rows = np.array([8, 4, 16]), np.array([1, 1, 1])

    rows = padding([Bucket(Lengths, np.array([0, 1]), 8), Bucket(Lengths, np.array([2]), 16)])
    assert [row["padding"] for row in rows] == [0.25, 0, 4 / 32]
