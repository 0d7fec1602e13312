"""Several files as one text: edits of any of them are splices, and lines lead back to their files."""

import pytest
from tests.programs import PYTHON

from kelp.syntax.bundle import file_at, join, line_at, split
from kelp.syntax.edits import Edit
from kelp.syntax.functions import functions

FIRST = b"def f(x):\n    return x + 1"  # without an end of line
SECOND = b"X = 1\n\n\ndef f(y):\n    return y - 1\n"
BUNDLE = join([FIRST, SECOND, b""])


def test_files_come_out_as_they_went_in() -> None:
    assert split(BUNDLE) == [FIRST, SECOND, b""]
    assert split(FIRST) == [FIRST]


def test_functions_of_each_file_are_edited_in_place() -> None:
    first, second = functions(BUNDLE, PYTHON)
    assert (first.file, second.file) == (0, 1) and first.source.startswith(b"def f(x)")
    assert BUNDLE[second.start : second.end] == second.source
    at = second.source.index(b"- 1")
    edited = second.to_file(Edit(at, at + 1, b"+")).apply(BUNDLE)
    assert split(edited) == [FIRST, SECOND.replace(b"-", b"+"), b""]
    lines = BUNDLE.split(b"\n")
    assert lines[second.first_line - 1 : second.last_line] == [b"def f(y):", b"    return y - 1"]


def test_lines_and_bytes_lead_back_to_their_files() -> None:
    _, second = functions(BUNDLE, PYTHON)
    assert line_at(BUNDLE, second.first_line) == (1, 4)
    assert line_at(BUNDLE, 1) == (0, 1) and line_at(BUNDLE, 2) == (0, 2)
    assert file_at(BUNDLE, second.start) == (1, SECOND.index(b"def"))
    with pytest.raises(ValueError, match="behind the last"):
        line_at(BUNDLE, 99)
