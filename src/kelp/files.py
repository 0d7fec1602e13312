"""Files: read and checked, compared as a diff, written in one rename."""

import difflib
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kelp.errors import KelpError, reason

_CONTEXT = 3  # unchanged lines around a change in a diff
_PARSES = "Kelp repairs programs that do"


def cache_folder(name: str) -> Path:
    """A folder of Kelp's in the user's cache folder, which may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kelp" / name


class NotParsed(KelpError):
    """A program that does not parse."""


def read(path: Path) -> bytes:
    """Return the bytes of a file. Raises KelpError."""
    if path.is_dir():
        raise KelpError(f"{path} is a directory: give a Python file.")
    if path.exists() and not path.is_file():  # reading a pipe waits for somebody who writes
        raise KelpError(f"{path} is a pipe or a device: give a Python file.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise KelpError(f"{path} does not exist.") from None
    except OSError as error:
        raise KelpError(f"{path} cannot be read: {reason(error)}.") from None


def check_python(source: bytes, name: str) -> None:
    """Raise KelpError unless the source is UTF-8, and NotParsed unless it parses. `name` begins the sentence."""
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise KelpError(f"{name} is not UTF-8 (line {line}), and Kelp edits no other encoding.") from None
    if b"\r" in source.rstrip(b"\r") and b"\n" not in source:
        raise KelpError(f"{name} has lines that end with CR alone, which Kelp does not edit: convert them to LF.")
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        at = "" if error.lineno is None else f"line {error.lineno}: "
        raise NotParsed(f"{name} does not parse ({at}{error.msg})", _PARSES) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise NotParsed(f"{name} does not parse ({error})", _PARSES) from None


def diff(path: Path | str, old: bytes, new: bytes) -> str:
    """Return a unified diff that `patch -p1` and `git apply` accept, with the file's own line ends."""
    name, before, after = shown(path), _lines(old), _lines(new)
    lines = []
    tab = "\t" if any(c.isspace() for c in name) else ""  # ends a name with a space in it
    same = common(before, after)
    tail = common(before[same:][::-1], after[same:][::-1])
    first, last = max(0, same - _CONTEXT), max(0, tail - _CONTEXT)  # `difflib` may take minutes for a long file
    before, after = before[first : len(before) - last], after[first : len(after) - last]
    for line in difflib.unified_diff(before, after, f"a/{name}{tab}", f"b/{name}{tab}", n=_CONTEXT):
        if line.startswith("@@"):
            line = re.sub(r"(?<=[-+])\d+", lambda number: str(int(number[0]) + first), line)
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def common(lines: Sequence[str] | Sequence[bytes], others: Sequence[str] | Sequence[bytes]) -> int:
    """Number of lines that are the same from the first on."""
    return next((n for n, (a, b) in enumerate(zip(lines, others)) if a != b), min(len(lines), len(others)))


def shown(path: Path | str) -> str:
    """The path as a diff names it: relative to its Git repository, which is what `git apply` takes.

    Outside of a repository it is relative to the current folder, or to the root for a file outside of that.
    """
    path = Path(os.path.abspath(path))
    repository = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    with suppress(ValueError, FileNotFoundError):
        return path.relative_to(repository or Path.cwd()).as_posix()
    return path.relative_to(path.anchor).as_posix()


def _lines(source: bytes) -> list[str]:
    lines = [line + "\n" for line in source.decode("utf-8").split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a new file beside `path` to write, and put it in the place of `path` in one rename at the end.

    Readers see the old content or the new. Links are followed and the mode bits stay; after an error the old file is
    left as it was and the new one removed. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def write(path: Path, data: bytes) -> None:
    """Write a whole file as `atomic` does; into a pipe or a device, write directly. Raises OSError."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    with atomic(path) as new:
        new.write_bytes(data)


def check_writable(path: Path) -> None:
    """Raise KelpError where `write` is bound to fail, before any work is done for it."""
    if path.is_dir():
        raise KelpError(f"{path} is a directory: give the name of a file to write.")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise KelpError(f"{path} cannot be written: there is no folder {folder}.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise KelpError(f"{path} cannot be written: permission denied.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
