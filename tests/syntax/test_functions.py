"""Windows: functions of a file as programs, and edits of them put back."""

from dataclasses import fields

import pytest
from tests.programs import functions

from kelp.syntax.bundle import join
from kelp.syntax.edits import Edit
from kelp.syntax.functions import Function

FILE = b'''import os

x = """
def not_me(): pass
"""

@decorated
def first(a):
    def inner(): return a
    return inner


class Outer:
    """Doc."""

    @property
    async def second(self):
        text = """
    as it stands
        """

        if text:
            return text

    class Inner:
        def third(self): return 1;

if x:
    def fourth(): pass
'''


def by_name(file: bytes, name: str) -> Function:
    return next(f for f in functions(file) if f.qualname == name)


def edited(file: bytes, name: str, old: bytes, new: bytes) -> bytes:
    """The file after `old` became `new` in the window of a function."""
    window = by_name(file, name)
    at = window.source.index(old)
    return window.to_file(Edit(at, at + len(old), new)).apply(file)


def test_functions_and_methods_are_found_in_order_and_what_is_nested_stays_inside() -> None:
    names = [f.qualname for f in functions(FILE)]
    assert names == ["first", "Outer.second", "Outer.Inner.third", "fourth"]


def test_a_window_has_no_margin_and_its_decorators_and_knows_its_lines() -> None:
    method = by_name(FILE, "Outer.second")
    lines = method.source.split(b"\n")
    assert lines[:3] == [b"@property", b"async def second(self):", b'    text = """']
    assert (method.first_line, method.last_line) == (16, 23)
    assert FILE.split(b"\n")[method.first_line - 1] == b"    @property"


def test_strings_are_shown_as_they_are_and_put_back_as_they_are() -> None:
    method = by_name(FILE, "Outer.second")
    assert b'"""\n    as it stands\n        """' in method.source
    text = b'text = """\n    as it stands\n        """'
    assert edited(FILE, "Outer.second", text, text) == FILE


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("tab", [b"    ", b"\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_an_edit_speaks_the_language_of_the_file(newline: bytes, tab: bytes, bom: bytes) -> None:
    def written(text: bytes) -> bytes:
        return bom + text.replace(b"    ", tab).replace(b"\n", newline)

    file = b"class A:\n    def f(self):\n        if self:\n            return 1\n\n        return 2\n# end\n"
    file, plain = written(file), by_name(file, "A.f").source
    assert by_name(file, "A.f").source == plain == b"def f(self):\n    if self:\n        return 1\n\n    return 2"
    new = b"return 1\n\n    if not self:\n        return 3"
    expected = b"class A:\n    def f(self):\n        if self:\n            return 1\n\n        if not self:\n" + (
        b"            return 3\n\n        return 2\n# end\n"
    )
    assert edited(file, "A.f", b"return 1", new) == written(expected)


def test_tabs_inside_a_function_that_is_indented_by_spaces_are_left_alone() -> None:
    file = b"def f(x):\n    y = [\n\t\tx]\n    return y\n"
    assert by_name(file, "f").source == file.rstrip()
    assert edited(file, "f", b"return y", b"if x:\n        return y") == file.replace(
        b"return y", b"if x:\n        return y"
    )


def test_a_one_line_function_takes_the_line_ends_of_its_file() -> None:
    file = b"x = 1\r\ndef f(): return x\r\n"
    assert edited(file, "f", b"return x", b"\n    return x") == b"x = 1\r\ndef f(): \r\n    return x\r\n"


def test_a_comment_at_the_end_takes_no_part_of_the_line_end() -> None:
    file = b"class A:\r\n    def f(self):\r\n        return 1  # one\r\n\r\n    x = 1\r\n"
    assert by_name(file, "A.f").source == b"def f(self):\n    return 1  # one"


def test_blank_lines_of_a_rewritten_text_get_no_margin() -> None:
    file = b"class A:\n    def f(self):\n        a()\n\n        b()\n"
    assert edited(file, "A.f", b"a()\n\n    b()", b"b()\n\n    a()") == file.replace(b"a", b"_").replace(
        b"b()", b"a()"
    ).replace(b"_()", b"b()").replace(b"cl_ss", b"class")


def test_a_file_that_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        functions(b"def f(:")


def test_the_text_of_a_function_is_made_when_it_is_first_asked_for() -> None:
    first, second = functions(b"def f():\n    return 1\n\ndef g():\n    return 2\n")
    assert second.source == b"def g():\n    return 2" and "_view" in vars(second)
    assert "_view" not in vars(first)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("tab", [b"    ", b"\t"])
@pytest.mark.parametrize("bundle", [False, True])
def test_functions_after_an_edit_are_those_of_the_edited_file(newline: bytes, tab: bytes, bundle: bool) -> None:
    file = FILE.replace(b"    ", tab).replace(b"\n", newline)
    file = join([file, file]) if bundle else file
    windows, checked = functions(file), 0
    for window in windows:
        for node in range(1, len(window.program.kind)):
            text = window.program.text(node)
            if text in (b"return text", b"return inner", b"return 1"):
                start, more = window.program.start[node], b" + x" + b"\n    pass" * (text != b"return 1")
                change = window.to_file(Edit(start, start + len(text), text + more))
                found = [each.after(change, file) for each in windows]
                assert list(map(vars_of, found)) == list(map(vars_of, functions(change.apply(file))))
                checked += 1
    assert checked >= 4


def vars_of(function: Function) -> dict[str, object]:
    return {each.name: getattr(function, each.name) for each in fields(function)} | {"source": function.source}


def test_an_edit_that_leaves_no_function_is_refused_and_another_name_is_seen() -> None:
    file = b"class A:\n    def f(self):\n        return 1\n"
    [window] = functions(file)
    at = file.index(b"f(")
    assert window.after(Edit(at, at + 1, b"g"), file).qualname == "A.g"
    for broken in (
        Edit(at, at + 1, b"1"),
        Edit(window.start, window.end, b"pass"),
        Edit(window.start, window.end, b""),
    ):
        with pytest.raises(SyntaxError):
            window.after(broken, file)
