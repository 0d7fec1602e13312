"""The file under repair at the edges: read and checked, shown as a diff, replaced in one go."""

import difflib
import os
import stat
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from kelp.errors import Problem, reason


def read(path: Path) -> bytes:
    """The bytes of a file. Raises Problem."""
    if path.is_dir():
        raise Problem(f"{path} is a directory: give a Python file.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Problem(f"{path} does not exist.") from None
    except OSError as error:
        raise Problem(f"{path} cannot be read: {reason(error)}.") from None


def read_python(path: Path) -> bytes:
    """The bytes of a file that is UTF-8 and parses. Raises Problem."""
    source = read(path)
    try:
        source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise Problem(f"{path} is not UTF-8 (line {line}), and Kelp edits no other encoding.") from None
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        at = "" if error.lineno is None else f"line {error.lineno}: "
        raise Problem(f"{path} does not parse ({at}{error.msg}): Kelp repairs programs that do.") from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Problem(f"{path} does not parse ({error}): Kelp repairs programs that do.") from None
    return source


def diff(path: Path, old: bytes, new: bytes) -> str:
    """A unified diff that `patch -p1` and `git apply` take, with the file's own line ends."""
    name = shown(path)
    lines = []
    # With a space in a name, a tab ends it.
    tab = "\t" if any(c.isspace() for c in name) else ""
    for line in difflib.unified_diff(_lines(old), _lines(new), f"a/{name}{tab}", f"b/{name}{tab}"):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def shown(path: Path) -> str:
    """The path as a diff names it: from the current folder, or from the root for what lies outside of it."""
    path = Path(os.path.abspath(path))
    with suppress(ValueError, FileNotFoundError):
        return path.relative_to(Path.cwd()).as_posix()
    return path.relative_to(path.anchor).as_posix()


def _lines(source: bytes) -> list[str]:
    lines = [line + "\n" for line in source.decode("utf-8").split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def replace(path: Path, data: bytes) -> None:
    """Give a file new content in one rename: its mode bits stay, links are followed, readers see old or new.

    A new file is made where there is none; what is no regular file (a pipe, a device) is written to. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        path.write_bytes(data)
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def check_writable(path: Path) -> None:
    """Raises Problem where `replace` is bound to fail, before any work is done for it."""
    if path.is_dir():
        raise Problem(f"{path} is a directory: give the name of a file to write.")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise Problem(f"{path} cannot be written: there is no folder {folder}.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise Problem(f"{path} cannot be written: permission denied.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
