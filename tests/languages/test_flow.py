"""Names that are bound on every way to a statement."""

import pytest

from kelp.languages.python.flow import END, bound_before


def names_at(body: str) -> set[str]:
    """Those that are bound before the statement `here` of a function of `p` with this body."""
    source = "def f(p):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return set(bound_before(source.encode())[source.index("here")])


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        ("here", "p"),
        ("a = b, (c, *d) = p\nhere", "p a b c d"),
        ("a: int\nb: int = 1\nc += 1\nhere", "p b c"),
        ("import os.path, sys as s\nfrom m import n\ndef g(): z = 1\nclass C: y = 1\nhere", "p os s n g C"),
        ("if p:\n    a = b = 1\nelse:\n    a = c = 1\nhere", "p a"),
        ("if p:\n    a = 1\nhere", "p"),
        ("if p:\n    return\nelse:\n    a = 1\nhere", "p a"),
        ("if p:\n    a = 1\n    here", "p a"),
        ("for i in p:\n    a = 1\nhere", "p"),
        ("for i, (j, k) in p:\n    a = 1\n    here", "p i j k a"),
        ("for i in p:\n    if i:\n        a = 1\n        continue\n    b = 1\n    here", "p i b"),
        ("for i in p:\n    a = b = 1\n    break\nelse:\n    a = 1\nhere", "p a"),
        ("for i in p:\n    break\nelse:\n    return\nhere", "p i"),
        ("while p:\n    a = 1\nhere", "p"),
        ("while True:\n    a = 1\n    if p:\n        break\n    b = 1\nhere", "p a"),
        ("while True:\n    while p:\n        a = 1\n        break\n    b = 1\n    break\nhere", "p b"),
        ("with p as a, p as b:\n    c = 1\n    here", "p a b c"),
        ("with p as a, p as b:\n    c = 1\nhere", "p a"),
        ("try:\n    a = 1\nexcept E as e:\n    here", "p"),
        ("try:\n    a = b = 1\nexcept E as e:\n    a = 1\nhere", "p a"),
        ("try:\n    a = 1\nexcept E:\n    return\nelse:\n    b = 1\nfinally:\n    c = 1\nhere", "p a b c"),
        ("try:\n    a = 1\nfinally:\n    b = 1\n    here", "p b"),
        ("try:\n    a = 1\nexcept* E:\n    a = b = 1\nhere", "p a"),
        ("match p:\n    case [a, *b]:\n        c = 1\n    case {'k': a, **b}:\n        here", "p a b"),
        ("match p:\n    case [a]:\n        c = 1\n    case _:\n        c = 1\nhere", "p c"),
        ("match p:\n    case [a]:\n        c = 1\nhere", "p"),
        ("a = b = 1\ndel a, p\nhere", "b"),
        ("e = 1\ntry:\n    pass\nexcept E as e:\n    pass\nhere", "p"),
        ("a = [x for x in p]\nb = lambda y: y\nhere", "p a b"),
        ("if (a := p):\n    pass\nhere", "p"),
    ],
)
def test_a_name_is_bound_where_every_way_binds_it(body: str, bound: str) -> None:
    assert names_at(body) == set(bound.split())


def test_parameters_of_all_kinds_are_bound() -> None:
    source = b"@d\ndef f(a, /, b=1, *c, d, **e):\n    return a\n"
    assert bound_before(source) == {source.index(b"return"): frozenset("abcde")}


def test_what_cannot_be_reached_says_nothing() -> None:
    for body in (b"while True:\n        b = 1", b"try:\n        return\n    finally:\n        b = 1", b"raise a"):
        source = b"def f(a):\n    " + body + b"\n    c = 1\n"
        found = bound_before(source)
        assert END not in found and source.index(b"c = 1") not in found
    assert bound_before(b"def f(a):\n    b = 1\n")[END] == {"a", "b"}


def test_offsets_are_bytes() -> None:
    source = "def f(ä):\n    ö = 'ü'\n    if ä: ö = 1; return ö\n".encode()
    found = bound_before(source)
    assert found[source.index(b"return")] == found[source.index("ö = 1".encode())] == {"ä", "ö"}
    assert found[source.index("ö = 'ü'".encode())] == {"ä"}
