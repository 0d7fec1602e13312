"""Encoding: what the model sees of a state, where its sites are, and what an edit is written as."""

import numpy as np
import pytest
from tests.programs import HARD, PYTHON, parse

from kelp.encoding.encoder import Condition, Encoder, EncodingConfig, kind_count, kind_id, kind_op, pad
from kelp.encoding.tokenizer import Tokenizer
from kelp.encoding.vocabulary import DOC, EDIT, END, INTENT, OBS, PROGRAM, PROGRAM_END, SPEC, STOP, UNTIL
from kelp.syntax.edits import Edit
from kelp.syntax.sites import Site, sites

TOKENIZER = Tokenizer.train(HARD * 2, 500, PYTHON)
ENCODER = Encoder(TOKENIZER)
PROGRAM_TEXT = b'def f(a, b):\n    """Smaller of two."""\n    if a < b:\n        return a\n    return b'
CONDITION = Condition("Smaller of two.", ("assert f(1, 2) == 1", "assert f(2, 1) == 1"), "1/2 pass; f(2, 1) gave 2")


def test_a_state_is_what_is_known_and_then_the_program() -> None:
    tokens = ENCODER.state(parse(PROGRAM_TEXT), CONDITION).tokens
    marks = [t for t in tokens if t in (INTENT, SPEC, OBS, PROGRAM, PROGRAM_END)]
    assert marks == [INTENT, SPEC, OBS, PROGRAM, PROGRAM_END]
    assert TOKENIZER.decode(tokens[1 : tokens.index(SPEC)]) == b"Smaller of two."
    spec = tokens[tokens.index(SPEC) + 1 : tokens.index(OBS)]
    assert TOKENIZER.decode(spec) == b"\nf(1, 2) == 1\nf(2, 1) == 1"
    assert ENCODER.state(parse(PROGRAM_TEXT)).tokens == tokens[tokens.index(PROGRAM) :]


def test_what_is_not_known_leaves_no_mark() -> None:
    for condition in (Condition(), Condition(intent="x"), Condition(asserts=("f()",)), Condition(observation="x")):
        tokens = ENCODER.state(parse(PROGRAM_TEXT), condition).tokens
        given = {INTENT: condition.intent, SPEC: condition.asserts, OBS: condition.observation}
        assert all((mark in tokens) == bool(part) for mark, part in given.items())


def test_conditioning_is_cut_to_its_limits_but_asserts_stay_whole() -> None:
    config = EncodingConfig(max_intent=3, max_spec=16, max_observation=2)
    encoder = Encoder(TOKENIZER, config)
    condition = Condition("one two three four five", ("assert f('" + "long " * 40 + "')", "assert f(1)"), "a b c d e")
    tokens = encoder.state(parse(PROGRAM_TEXT), condition).tokens
    intent, spec, obs, program = (tokens.index(mark) for mark in (INTENT, SPEC, OBS, PROGRAM))
    assert (spec - intent, program - obs) == (4, 3)
    assert TOKENIZER.decode(tokens[spec + 1 : obs]) == b"\nf(1)"
    nothing = Encoder(TOKENIZER, EncodingConfig(0, 0, 0)).state(parse(PROGRAM_TEXT), condition).tokens
    assert nothing[0] == PROGRAM


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_spec is a number of tokens and cannot be -1"):
        EncodingConfig(max_spec=-1)


def test_the_docstring_is_one_token_and_can_still_be_deleted() -> None:
    state = ENCODER.state(parse(PROGRAM_TEXT))
    assert state.tokens.count(DOC) == 1
    assert b"Smaller" not in TOKENIZER.decode(state.tokens)
    deletion = Edit(PROGRAM_TEXT.index(b'"'), PROGRAM_TEXT.index(b"if"), b"")
    row = state.row_of(deletion)
    assert ENCODER.edit(state, row, []) == deletion
    assert state.rows[row][0] <= state.tokens.index(DOC) <= state.rows[row][1]


@pytest.mark.parametrize("source", HARD)
def test_rows_are_stop_and_then_every_site_at_its_tokens(source: bytes) -> None:
    program = parse(source)
    state = ENCODER.state(program, CONDITION)
    start = state.tokens.index(PROGRAM)
    assert state.rows[0] == (start, start, STOP)
    assert len(state.rows) == 1 + len(state.sites) and state.sites == sites(program)
    for (first, last, kind), site in zip(state.rows[1:], state.sites):
        assert start < first <= last < len(state.tokens)
        assert kind == kind_id(site, PYTHON) and kind_op(kind, PYTHON) == site.op
        if site.op == "insert":
            assert last == first + 1
        elif site.op == "replace" and DOC not in state.tokens[first : last + 1]:
            held = b"".join(map(TOKENIZER.token_bytes, state.tokens[first : last + 1]))
            assert b"".join(held.split()) == b"".join(source[site.start : site.end].split())


def test_kinds_are_numbered_without_gaps() -> None:
    kinds = {kind_id(Site(0, 0, op, c), PYTHON) for op in ("replace", "insert", "delete") for c in PYTHON.categories}
    assert kinds == set(range(2, kind_count(PYTHON))) and kind_op(STOP, PYTHON) == ""


def test_an_edit_is_written_in_place() -> None:
    program = parse(PROGRAM_TEXT)
    state = ENCODER.state(program)
    at = PROGRAM_TEXT.index(b"a < b")
    row = state.row_of(Edit(at, at + 5, b"b < a"))
    first, last, _ = state.rows[row]
    written = ENCODER.written(b"b < a")
    tokens, positions, targets = ENCODER.suffix(state, row, written)
    assert tokens == [EDIT, UNTIL, *written]
    assert positions == [first, last + 1, first, first + 1, first + 2]
    assert targets == [-1, *written, END]
    assert ENCODER.edit(state, row, written) == Edit(at, at + 5, b"b < a")


def test_an_insertion_stands_between_its_neighbours() -> None:
    state = ENCODER.state(parse(b"def f(a):\n    return a"))
    row = state.row_of(Edit(22, 22, b" and a"))
    last = state.rows[row][1]
    assert state.tokens[last] == PROGRAM_END and state.span(row) == (last, last)
    assert ENCODER.suffix(state, row, [100])[1] == [last, last, last]


def test_an_edit_that_is_not_legal_is_none_and_a_span_that_is_no_site_is_an_error() -> None:
    state = ENCODER.state(parse(PROGRAM_TEXT))
    at = PROGRAM_TEXT.index(b"a < b")
    row = state.row_of(Edit(at, at + 5, b"x"))
    assert ENCODER.edit(state, row, ENCODER.written(b"b <")) is None
    assert ENCODER.edit(state, row, ENCODER.written(b"a < b")) is None
    with pytest.raises(KeyError):
        state.row_of(Edit(at, at + 4, b"x"))


def test_masks_let_a_text_of_the_category_through_and_stop_others() -> None:
    first, rest = ENCODER.allowed()
    assert first.shape == rest.shape == (kind_count(PYTHON), TOKENIZER.size) and first.dtype == bool

    def admits(op: str, category: str, text: bytes) -> bool:
        kind, ids = kind_id(Site(0, 0, op, category), PYTHON), ENCODER.written(text)
        return bool(first[kind, ids[0]] and rest[kind, [*ids[1:], END]].all())

    assert admits("replace", "comparison operator", b"not in") and admits("replace", "comparison operator", b">=")
    assert not admits("replace", "comparison operator", b"+") and not admits("replace", "binary operator", b"x")
    assert admits("replace", "name", "größe_2".encode()) and not admits("replace", "name", b"a.b")
    assert admits("replace", "indent", b"\n        ") and not admits("replace", "indent", b"x")
    assert admits("insert", "condition", b" and x") and admits("insert", "condition", b" \\\n    or x")
    assert not admits("insert", "condition", b"x and y") and admits("insert", "leading condition", b"x and ")
    assert admits("insert", "clause", b"\n    else:\n        pass") and not admits("insert", "clause", b"pass")
    assert not first[:2].any() and not first[kind_id(Site(0, 0, "delete", "statement"), PYTHON)].any()


def test_rows_are_padded_at_the_right() -> None:
    assert np.array_equal(pad([[1, 2], [3]], 3), [[1, 2, 0], [3, 0, 0]])
    assert pad([[1]], 2, -1).dtype == np.int32
