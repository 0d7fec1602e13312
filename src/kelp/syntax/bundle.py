"""Bundle: the sources of several files as one text, so that an edit of any of them is a splice of the text.

Files are joined by a line with a NUL byte, which no source file can hold. The text of one file is a bundle of one.
"""

from collections.abc import Sequence

SEPARATOR = b"\0\n"


def join(sources: Sequence[bytes]) -> bytes:
    """Return the bundle of these sources."""
    return SEPARATOR.join(sources)


def split(bundle: bytes) -> list[bytes]:
    """Return the sources in a bundle."""
    return bundle.split(SEPARATOR)


def file_at(bundle: bytes, offset: int) -> tuple[int, int]:
    """Return the number of the file at a byte of a bundle, and the byte in that file."""
    before = bundle[:offset]
    number = before.count(SEPARATOR)
    return number, offset - (before.rfind(SEPARATOR) + len(SEPARATOR) if number else 0)


def line_at(bundle: bytes, line: int) -> tuple[int, int]:
    """Return the number of the file at a line of a bundle, and the line in that file; both lines count from 1."""
    for number, source in enumerate(split(bundle)):
        lines = source.count(b"\n") + 1
        if line <= lines:
            return number, line
        line -= lines
    raise ValueError("the line is behind the last one")
