"""Programs: flat preorder arrays of the syntax tree."""

import pytest
from tests.programs import HARD, parse, parses


@pytest.mark.parametrize("source", HARD)
def test_the_arrays_are_a_tree_in_preorder(source: bytes) -> None:
    program = parse(source)
    assert program.source == source and program.parent[0] == -1 and program.last[0] == len(program.kind)
    for node in range(1, len(program.kind)):
        above = program.parent[node]
        assert above < node < program.last[node] <= program.last[above]
        assert program.start[above] <= program.start[node] <= program.end[node] <= program.end[above]
        assert node in program.children(above)
    leaves = [n for n in range(len(program.kind)) if program.is_leaf(n)]
    assert program.size(0) == len(leaves)
    assert all(program.size(n) == sum(n <= leaf < program.last[n] for leaf in leaves) for n in range(len(program.kind)))


def test_strings_have_no_inside() -> None:
    program = parse(b'def f(x):\n    return f"{x + 1}" "b"')
    assert all(program.is_leaf(n) for n in range(len(program.kind)) if "string" in program.kind[n])
    assert b"x + 1" not in [program.text(n) for n in range(len(program.kind))]


def test_the_root_is_the_definition_with_its_decorators() -> None:
    program = parse(b"# about\n@decorated\ndef f(): pass\n")
    assert program.text(program.root) == b"@decorated\ndef f(): pass"


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError, match="not valid python"):
        parse(b"def f(:\n    pass")
    assert not parses(b"def f():\n    return = 1")
    assert not parses(b"def f():\n    nonlocal x")  # the grammar takes it, the compiler does not
    assert not parses(b"def f():\n    x = '\x00'")
    assert parses(b"def f():\n    return 1")
