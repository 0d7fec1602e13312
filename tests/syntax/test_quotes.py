"""Text that a model writes takes the quotes of the program."""

import pytest

from kelp.languages.python.grammar import PYTHON
from kelp.syntax.edits import Edit
from kelp.syntax.program import parse
from kelp.syntax.quotes import with_quotes_of


@pytest.mark.parametrize(
    "source, old, written, wanted",
    [
        (b'def f(a):\n    return "x y" + b\n', b'"x y" + b', b"'x y' + a", b'"x y" + a'),
        (b"def f(a):\n    return 'x y' + b\n", b"'x y' + b", b"\"x y\" + a", b"'x y' + a"),
        (b'def f(a):\n    return g("x", a)\n', b"a", b"'new'", b'"new"'),  # as most of the program's strings
        (b"def f(a):\n    return g('x', \"y\", 'z', a)\n", b", a", b", \"y\", b\"n\"", b", \"y\", b'n'"),
        (b"def f(a):\n    return a\n", b"a\n", b"'x'\n", b"'x'\n"),  # no string to go by
        (b'def f(a):\n    return g("x", a)\n', b"a", b"'say \"hi\"'", b"'say \"hi\"'"),  # holds the other quote
        (b'def f(a):\n    return g("x", a)\n', b"a", b"'a\\n'", b"'a\\n'"),
        (b'def f(a):\n    return g("x", a)\n', b"a", b'"it\'s" + \'o\'', b'"it\'s" + "o"'),
        (b'def f(a):\n    """Say \'a\'."""\n    return g(a)\n', b"g(a)", b"'a'", b"'a'"),  # a docstring tells nothing
        (b'def f(a):\n    return g("x", a)\n', b"a", b"f'{a}' + rb'b'", b'f"{a}" + rb"b"'),
    ],
)  # fmt: skip
def test_strings_are_written_as_in_the_program(source: bytes, old: bytes, written: bytes, wanted: bytes) -> None:
    at = source.rindex(old)
    edit = with_quotes_of(parse(source, PYTHON), Edit(at, at + len(old), written))
    assert edit == Edit(at, at + len(old), wanted)
