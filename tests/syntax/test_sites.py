"""Edit sites: the one definition of where an edit may go."""

import pytest
from benchmarks.closed_loop import Score, check_sites, library_files, syntax
from tests.programs import HARD, parse

from kelp.syntax.edits import Edit
from kelp.syntax.sites import Site, is_valid, key, make_edit, site_index, sites

FILES = [p for p in library_files() if 2_000 < p.stat().st_size < 12_000]


def all_held(score: Score) -> bool:
    return not score.failures


@pytest.mark.parametrize("source", HARD)
def test_sites_of_unusual_code_are_unique_at_pieces_outside_strings_and_can_be_deleted(source: bytes) -> None:
    score = Score()
    check_sites(parse(source), score)
    assert all_held(score), score.failures


@pytest.mark.parametrize("path", FILES[:: len(FILES) // 24], ids=lambda p: p.stem)
@pytest.mark.slow
def test_sites_of_the_standard_library_take_edits_that_leave_the_file_valid_and_the_rest_alone(path) -> None:
    score = syntax(path, edits=12, seed=0)
    assert all_held(score), score.failures


def found(source: bytes, op: str, category: str) -> list[bytes]:
    """The texts at the sites of a kind; of insertions the text before, to its last space."""
    places = [s for s in sites(parse(source)) if (s.op, s.category) == (op, category)]
    if op == "insert":
        return [source[: s.start].split(b" ")[-1] for s in places]
    return [source[s.start : s.end] for s in places]


def test_operators_names_and_patterns_have_categories_of_their_own() -> None:
    source = b"def f(a, b):\n    c = a.x < b and not -a\n    c += 1\n    return c * b"
    assert found(source, "replace", "comparison operator") == [b"<"]
    assert found(source, "replace", "boolean operator") == [b"and"]
    assert found(source, "replace", "unary operator") == [b"-"]
    assert found(source, "replace", "assignment operator") == [b"+="]
    assert found(source, "replace", "binary operator") == [b"*"]
    assert found(source, "replace", "name") == [b"f", b"x"]
    assert found(source, "replace", "pattern") == [b"c", b"c"]


def test_statements_are_inserted_and_deleted_with_their_line_and_comment() -> None:
    source = b"def f(a):\n    b = a  # why\n    return b"
    assert found(source, "delete", "statement") == [b"b = a  # why\n    ", b"\n    return b"]
    assert found(source, "insert", "statement") == [b"", b"why", b"b"]
    assert found(source, "replace", "indent") == [b"\n    "]
    assert found(source, "replace", "block") == [b"b = a  # why\n    return b"]  # so no "statements" of this span


def test_the_last_statement_of_a_block_cannot_be_deleted() -> None:
    assert found(b"def f(a):\n    return a", "delete", "statement") == []


def test_a_condition_may_be_put_before_and_behind_another_and_taken_out() -> None:
    source = b"def f(a, b):\n    if a and b:\n        pass"
    assert found(source, "delete", "condition") == [b" and b"]
    assert found(source, "delete", "leading condition") == [b"a and "]
    assert found(source, "insert", "condition") == [b"b", b"a"]
    assert found(source, "insert", "leading condition") == [b"", b""]


def test_elements_may_be_put_into_an_empty_call_and_into_parentheses() -> None:
    assert found(b"def f(a):\n    return a( )", "insert", "argument") == [b""]
    assert found(b"def f(a):\n    return [(a)]", "insert", "element") == [b"[", b"[(a)", b"[(", b"[(a"]


@pytest.mark.parametrize(
    "source, kept",
    [
        (b"def f():\n    x = 1\n    y = 2\n    def g():\n        nonlocal x\n        x = 2", b"x = 1"),
        (b"def f(x, y):\n    def g():\n        nonlocal x\n        x = 2", b"x, "),
        (b"def f(a=1, *, b):\n    pass", b", *"),
        (b"def f(a=1, *c, b):\n    pass", b", *c"),
        (b"def f(*, b):\n    pass", b", b"),
        (b"def f(a, /, b):\n    pass", b"a, "),
        (b"def f(a):\n    return *a, 1", b", 1"),
        (b"def f(a):\n    try:\n        a()\n    finally:\n        a()", b"\n    finally:\n        a()"),
    ],
)
def test_what_the_rest_needs_cannot_be_deleted(source: bytes, kept: bytes) -> None:
    assert not any(s.op == "delete" and source[s.start : s.end].startswith(kept) for s in sites(parse(source)))


def test_line_continuations_and_comments_are_no_sites() -> None:
    source = b"def f(a):\n    b, \\\n    c = a  # why\n    # alone\n    return b"
    assert all(source[s.start : s.end].strip() not in (b"\\", b"# why", b"# alone") for s in sites(parse(source)))


def test_an_edit_is_made_where_the_result_is_valid_and_new_and_nowhere_else() -> None:
    program = parse(b"def f(a):\n    return a")
    site = next(s for s in sites(program) if s.op == "replace" and s.start == 21)
    assert make_edit(program, site, b"a + 1") == Edit(21, 22, b"a + 1")
    for text in (b"a", b"a +", b"", b"nonlocal"):
        assert make_edit(program, site, text) is None
    assert make_edit(program, Site(21, 22, "delete", "statement"), b"x") is None


def test_no_edit_writes_beyond_the_definition() -> None:
    program = parse(b"def f(a):\n    a()\n    return a")
    gap = next(s for s in sites(program) if s.category == "indent")
    assert make_edit(program, gap, b"\n") is None  # `return a` would be the module's
    assert not is_valid(program, Edit(len(program.source), len(program.source), b"\n\nx = 1"))
    assert not is_valid(program, Edit(len(program.source), len(program.source), b"\n    "))


def test_the_index_finds_the_site_of_every_edit() -> None:
    program = parse(HARD[0])
    for i, site in enumerate(sites(program)):
        text = b"" if site.op == "delete" else b"x"
        assert site_index(program)[key(Edit(site.start, site.end, text))] == i
