"""Names that a program needs from outside, checked against running it."""

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelp.languages.python.names import bound_names, free_names

FILE = b"""
import os.path as p, re
from math import sqrt as root
LIMIT: int = 3
for index in range(2):
    last = index
class Box:
    size = 1
    def wide(self, by=LIMIT):
        return self.size * by + offset
def main(items, *rest, key=None, **more):
    seen = [i for i in items if i > floor]
    def inner(x):
        return x + len(seen) + shift
    with open(p.join("a")) as file, context() as other:
        total: int = inner(last)
    try:
        pass
    except MyError as error:
        print(error)
    return lambda y: (y, total, rest, key, more, file, other, named := missing, named)
"""


def test_names_are_free_where_neither_the_program_nor_python_binds_them():
    assert free_names(FILE) == {"offset", "floor", "shift", "context", "MyError", "missing"}
    assert bound_names(FILE) == {"p", "re", "root", "LIMIT", "index", "last", "Box", "main", "size", "wide"}


def test_a_global_statement_defines_a_name_for_all():
    source = b"\xef\xbb\xbfdef init():\n    global table\n    table = {}\n"
    assert bound_names(source) == {"init", "table"} and free_names(source) == set()


HIDING = [
    b"from a import *", b"if x:\n    from .b import  *", b"import os; from a import *", b"from a import \\\n  *",
    b"globals().update(a=1)", b"def f():\n    exec('a = 1', g)",
]  # fmt: skip


@pytest.mark.parametrize("line", HIDING)
def test_names_that_cannot_be_seen_are_not_known(line):
    assert bound_names(b"y = 1\n" + line + b"\n") is None


def test_syntax_errors_are_raised():
    with pytest.raises(SyntaxError):
        free_names(b"def f(:\n")


NAMES = st.sampled_from(["a", "b", "c", "len", "print"])


@given(st.lists(st.tuples(NAMES, NAMES), max_size=4), NAMES)
def test_a_program_without_free_names_raises_no_name_error(assignments, result):
    body = "".join(f"    {to} = {of}\n" for to, of in assignments)
    source = f"def f(a):\n{body}    return {result}\n"
    namespace = {}
    exec(source, namespace)
    free = free_names(source.encode())
    try:
        namespace["f"](1)
    except UnboundLocalError:
        pass  # bound, but too late
    except NameError as error:
        assert error.name in free
    else:
        read = {of for _, of in assignments} | {result}
        assert free.isdisjoint(read - set(dir(builtins)))
