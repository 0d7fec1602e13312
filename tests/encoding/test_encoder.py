"""Encoding: the tokens of a state, the places of its sites, and the tokens of an edit."""

import numpy as np
import pytest
from tests.encoding.hugging_face import lexical
from tests.programs import HARD, PYTHON, parse

from kelp.encoding.condition import Condition, EncodingConfig
from kelp.encoding.encoder import Encoder, pad
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer
from kelp.encoding.vocabulary import OPERATIONS, PADDING, STOP, site_kinds
from kelp.syntax.edits import Edit
from kelp.syntax.sites import Site, sites

ENCODERS = {
    "ours": Encoder(ImpliedSpaceTokenizer.train(HARD * 2, 500, PYTHON)),
    "lexical": Encoder(lexical(HARD)),
}
PROGRAM = parse(b'def f(a, b):\n    """Smaller of two."""\n    if a < b:\n        return a\n    return b')
SOURCE = PROGRAM.source
CONDITION = Condition("Smaller of two.", ("assert f(1, 2) == 1", "assert f(2, 1) == 1"), "1/2 pass; f(2, 1) gave 2")
each = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)


@each
def test_a_state_is_the_condition_and_then_the_program(encoder: Encoder) -> None:
    special, decode = encoder.special, encoder.tokenizer.decode
    tokens = encoder.state(PROGRAM, CONDITION).tokens
    parts = [special.intent, special.spec, special.observation, special.program, special.program_end]
    assert [t for t in tokens if t in parts] == parts
    assert decode(tokens[1 : tokens.index(special.spec)]) == b"Smaller of two."
    spec = tokens[tokens.index(special.spec) + 1 : tokens.index(special.observation)]
    assert decode(spec) == b"\nf(1, 2) == 1\nf(2, 1) == 1"
    assert encoder.state(PROGRAM).tokens == tokens[tokens.index(special.program) :]


@each
def test_an_unknown_part_leaves_no_mark(encoder: Encoder) -> None:
    special = encoder.special
    for condition in (Condition(), Condition(intent="x"), Condition(asserts=("f()",)), Condition(observation="x")):
        tokens = encoder.state(PROGRAM, condition).tokens
        parts = {
            special.intent: condition.intent, special.spec: condition.asserts,
            special.observation: condition.observation,
        }  # fmt: skip
        assert all((mark in tokens) == bool(part) for mark, part in parts.items())


@each
def test_a_condition_is_cut_to_its_limits_but_asserts_stay_whole(encoder: Encoder) -> None:
    special, decode = encoder.special, encoder.tokenizer.decode
    short = Encoder(encoder.tokenizer, EncodingConfig(max_intent=3, max_spec=16, max_observation=2))
    condition = Condition("one two three four five", ("assert f('" + "long " * 40 + "')", "assert f(1)"), "a b c d e")
    tokens = short.state(PROGRAM, condition).tokens
    intent, spec, observation, program = map(
        tokens.index, (special.intent, special.spec, special.observation, special.program)
    )
    assert (spec - intent, program - observation) == (4, 3)
    assert decode(tokens[spec + 1 : observation]) == b"\nf(1)"
    nothing = Encoder(encoder.tokenizer, EncodingConfig(0, 0, 0)).state(PROGRAM, condition).tokens
    assert nothing[0] == special.program


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="max_spec is a number of tokens and cannot be -1"):
        EncodingConfig(max_spec=-1)


@each
def test_the_docstring_is_one_token_and_can_still_be_deleted(encoder: Encoder) -> None:
    state = encoder.state(PROGRAM)
    doc = encoder.special.doc
    assert state.tokens.count(doc) == 1
    assert b"Smaller" not in encoder.tokenizer.decode(state.tokens)
    deletion = Edit(SOURCE.index(b'"'), SOURCE.index(b"if"), b"")
    row = state.row_of(deletion)
    assert encoder.edit(state, row, []) == deletion
    assert state.rows[row][0] <= state.tokens.index(doc) <= state.rows[row][1]


@each
@pytest.mark.parametrize("source", HARD)
def test_rows_are_stop_and_then_every_site_at_its_tokens(encoder: Encoder, source: bytes) -> None:
    program = parse(source)
    state = encoder.state(program, CONDITION)
    start = state.tokens.index(encoder.special.program)
    assert state.rows[0] == (start, start, STOP)
    assert len(state.rows) == 1 + len(state.sites) and state.sites == sites(program)
    for (first, last, kind), site in zip(state.rows[1:], state.sites):
        assert start < first <= last < len(state.tokens)
        assert encoder.kinds[kind] == f"{site.op} {site.category}"
        if site.op == "insert":
            assert last == first + 1
        elif site.op == "replace" and encoder.special.doc not in state.tokens[first : last + 1]:
            held = b"".join(map(encoder.tokenizer.token_bytes, state.tokens[first : last + 1]))
            assert b"".join(held.split()) == b"".join(source[site.start : site.end].split())


def test_every_operation_with_every_category_is_a_kind_of_its_own() -> None:
    encoder = ENCODERS["ours"]
    kinds = [encoder.kind_of(Site(0, 0, op, c)) for op in OPERATIONS for c in PYTHON.categories]
    assert kinds == list(range(2, len(encoder.kinds))) and encoder.kinds[: STOP + 1] == ("padding", "stop")


def test_a_site_of_a_kind_that_the_model_lacks_has_a_row_of_padding() -> None:
    ours = ENCODERS["ours"]
    without = [kind for kind in site_kinds(PYTHON) if kind != "replace comparison operator"]
    state = Encoder(ours.tokenizer, kinds=without).state(PROGRAM)
    at = SOURCE.index(b"<")
    row = state.row_of(Edit(at, at + 1, b">"))
    assert [r for r in range(len(state.rows)) if state.rows[r][2] == PADDING] == [row]
    first, rest = Encoder(ours.tokenizer, kinds=without).allowed()
    assert not first[PADDING].any() and not rest[PADDING].any()


def test_an_edit_is_written_in_place() -> None:
    encoder = ENCODERS["ours"]
    state = encoder.state(PROGRAM)
    at = SOURCE.index(b"a < b")
    row = state.row_of(Edit(at, at + 5, b"b < a"))
    first, last, _ = state.rows[row]
    text = encoder.text_tokens(state, row, b"b < a")
    tokens, positions, targets = encoder.suffix(state, row, text)
    assert tokens == [encoder.special.edit, encoder.special.until, *text]
    assert positions == [first, last + 1, first, first + 1, first + 2]
    assert targets == [-1, *text, encoder.special.end]
    assert encoder.edit(state, row, text) == Edit(at, at + 5, b"b < a")


@each
def test_a_text_is_written_as_it_would_stand_in_the_program(encoder: Encoder) -> None:
    state = encoder.state(PROGRAM)
    for old, new in ((b"a < b", b"b < a"), (b"return b", b"return a")):
        at = SOURCE.index(old)
        row = state.row_of(Edit(at, at + len(old), new))
        first = state.rows[row][0]
        after = encoder.state(parse(SOURCE.replace(old, new)))
        text = encoder.text_tokens(state, row, new)
        assert text == after.tokens[first : first + len(text)]
        assert encoder.edit(state, row, text) == Edit(at, at + len(old), new)


@each
def test_an_insertion_stands_between_its_neighbors(encoder: Encoder) -> None:
    state = encoder.state(parse(b"def f(a):\n    return a"))
    row = state.row_of(Edit(22, 22, b" and a"))
    last = state.rows[row][1]
    assert state.tokens[last] == encoder.special.program_end and state.span(row) == (last, last)
    assert encoder.suffix(state, row, [100])[1] == [last, last, last]


@each
def test_an_edit_that_is_not_legal_is_none_and_a_span_that_is_no_site_is_an_error(encoder: Encoder) -> None:
    state = encoder.state(PROGRAM)
    at = SOURCE.index(b"a < b")
    row = state.row_of(Edit(at, at + 5, b"x"))
    assert encoder.edit(state, row, encoder.text_tokens(state, row, b"b <")) is None
    assert encoder.edit(state, row, encoder.text_tokens(state, row, b"a < b")) is None
    with pytest.raises(KeyError):
        state.row_of(Edit(at, at + 4, b"x"))


@each
def test_masks_let_a_text_of_the_category_through_and_stop_others(encoder: Encoder) -> None:
    first, rest = encoder.allowed()
    assert first.shape == rest.shape == (len(encoder.kinds), encoder.tokenizer.size) and first.dtype == bool

    def admits(op: str, category: str, text: bytes) -> bool:
        kind, found = encoder.kind_of(Site(0, 0, op, category)), []
        for space in (b"", b" ") if encoder.tokenizer.holds_space else (b"",):
            ids = encoder.tokenizer.encode(space + text)
            found.append(bool(first[kind, ids[0]] and rest[kind, [*ids[1:], encoder.special.end]].all()))
        assert len(set(found)) == 1, (category, text)
        return found[0]

    assert admits("replace", "comparison operator", b"not in") and admits("replace", "comparison operator", b">=")
    assert not admits("replace", "comparison operator", b"+") and not admits("replace", "binary operator", b"x")
    assert admits("replace", "name", "größe_2".encode()) and not admits("replace", "name", b"a.b")
    assert admits("replace", "indent", b"\n        ") and not admits("replace", "indent", b"x")
    assert admits("insert", "condition", b" and x") and admits("insert", "condition", b" \\\n    or x")
    assert not admits("insert", "condition", b"x and y") and admits("insert", "leading condition", b"x and ")
    assert admits("insert", "clause", b"\n    else:\n        pass") and not admits("insert", "clause", b"pass")
    assert not first[:2].any() and not first[encoder.kind_of(Site(0, 0, "delete", "statement"))].any()


def test_rows_are_padded_at_the_right() -> None:
    assert np.array_equal(pad([[1, 2], [3]], 3, 7), [[1, 2, 7], [3, 7, 7]])
    assert pad([[1]], 2, -1).dtype == np.int32
