"""The Python that runs a program and its tests: named by a person, found beside the program, or Kelp's own."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from kelp.execution.environments import environments
from kelp.execution.suite import absolute

OLDEST = (3, 9)  # that the worker runs in
_ALONE = ("-E", "-s", "-S")  # without the environment's settings and packages, in every Python since 2.7
_ASK = """
import sys
name = getattr(getattr(sys, "implementation", None), "name", "cpython")
print("%s %s.%s.%s %s" % ((name,) + tuple(sys.version_info[:3]) + (sys.executable,)))
"""
_COMPILE = """
import sys
try:
    compile(sys.stdin.buffer.read(), "<program>", "exec", dont_inherit=True)
except SyntaxError as error:
    print(error.msg if error.lineno is None else "line %s: %s" % (error.lineno, error.msg))
except BaseException as error:
    print(error or type(error).__name__)
"""
_SECONDS = 30.0  # that an interpreter may take to start


class InterpreterError(ValueError):
    """A Python that cannot run tests; the message is one sentence."""


@dataclass(frozen=True)
class Interpreter:
    """A Python: path of its executable, which in a virtual environment is the link in that, and its version."""

    path: str
    version: str

    @property
    def release(self) -> tuple[int, ...]:
        """Major and minor version."""
        return tuple(map(int, self.version.split(".")[:2]))

    @property
    def environment(self) -> str | None:
        """Folder of the virtual or Conda environment; None for an interpreter outside of any."""
        folder = os.path.dirname(os.path.dirname(self.path))
        marks = ("pyvenv.cfg", "conda-meta")
        return folder if any(os.path.exists(os.path.join(folder, mark)) for mark in marks) else None

    @property
    def is_own(self) -> bool:
        """Return whether it is the Python that Kelp itself runs in, with the same packages."""
        here = os.path.realpath(os.path.dirname(sys.executable))
        return os.path.realpath(os.path.dirname(self.path)) == here and self.version == own().version

    def __str__(self) -> str:
        """`.venv (Python 3.13.0)`: the environment, else the executable, relative to the current folder if inside."""
        path = self.environment or self.path
        inside = path.startswith(os.path.join(os.getcwd(), ""))
        return f"{os.path.relpath(path) if inside else path} (Python {self.version})"

    def syntax_error(self, source: bytes) -> str | None:
        """Error of compiling a program in this Python: `line 3: invalid syntax`.  Raises InterpreterError."""
        return _output(self.path, "-W", "ignore", "-c", _COMPILE, stdin=source).strip() or None


def own() -> Interpreter:
    """The Python that Kelp itself runs in."""
    return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))


def named(name: str) -> Interpreter:
    """The Python that a person names: an executable, the folder of an environment, or a version such as 3.11.

    Raises InterpreterError.
    """
    if re.fullmatch(r"[23]\.\d+(\.\d+)?", name):
        return _of_version(name)
    path = os.path.abspath(os.path.expanduser(name))
    if os.path.isdir(path):
        return _of_environment(path)
    if os.sep in name or os.path.isfile(path):
        return _ask(path)
    found = shutil.which(name)
    if found is None:
        raise InterpreterError(f"There is no Python {name}: give an executable, an environment's folder or a version")
    return _ask(found)


def found(program: Path) -> Interpreter:
    """The Python of a program's project.

    It is that of the active environment (Conda's base environment does not count), or of one of the project
    (`environments.py`), or else Kelp's own.  Raises InterpreterError where that one cannot be used.
    """
    active = [os.environ.get("VIRTUAL_ENV")]
    active += [os.environ.get("CONDA_PREFIX")] * (os.environ.get("CONDA_DEFAULT_ENV") != "base")
    folder = next((folder for folder in active if folder), None) or next(environments(absolute(program)), None)
    if folder is None or os.path.realpath(folder) == os.path.realpath(sys.prefix):
        return own()
    return _of_environment(os.path.abspath(folder))


def _of_environment(folder: str) -> Interpreter:
    path = os.path.join(folder, "bin", "python")
    if not os.path.lexists(path):
        raise InterpreterError(f"{folder} has no bin/python, so it is no environment of Python")
    return _ask(path)


def _of_version(version: str) -> Interpreter:
    """The Python of this version on the PATH, of pyenv or of uv; the newest of several.  Raises InterpreterError."""
    minor = ".".join(version.split(".")[:2])
    home = os.path.expanduser("~")
    pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(home, ".local", "share", "uv", "python")
    installed = glob(f"{pyenv}/versions/{minor}*/bin/python") + glob(f"{uv}/cpython-{minor}*/bin/python{minor}")
    installed.sort(key=lambda path: [int(part) for part in re.findall(r"\d+", path.partition(minor)[2])], reverse=True)
    on_path = shutil.which(f"python{minor}")
    _check_release(f"{version} is too old", minor)
    for path in [on_path, *installed] if on_path else installed:
        try:
            interpreter = _ask(path)
        except InterpreterError:  # pyenv's command for a version that is not active
            continue
        if f"{interpreter.version}.".startswith(f"{version}."):
            return interpreter
    raise InterpreterError(f"There is no Python {version} on the PATH, of pyenv or of uv: give the path of one")


def _ask(path: str) -> Interpreter:
    """The Python at this path.  Raises InterpreterError where it does not start or is too old."""
    words = _output(path, "-c", _ASK).split(maxsplit=2)
    if len(words) < 2 or not re.fullmatch(r"\d+\.\d+\.\d+", words[1]):
        raise InterpreterError(f"{path} is no Python: asked for its version, it does not give one")
    kind, version, *executable = words
    interpreter = Interpreter("".join(executable).strip() or path, version)  # what a script at the path leads to
    if kind != "cpython":
        raise InterpreterError(f"{path} is {kind}, and tests run in CPython alone")
    _check_release(f"{path} is Python {version}", version)
    return interpreter


def _check_release(subject: str, version: str) -> None:
    """Raise InterpreterError where a version is too old to run tests."""
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise InterpreterError(f"{subject}, and tests run in Python {'.'.join(map(str, OLDEST))} or newer")


def _output(path: str, *arguments: str, stdin: bytes = b"") -> str:
    """Output of an interpreter that is started alone.  Raises InterpreterError."""
    try:
        done = subprocess.run([path, *_ALONE, *arguments], input=stdin, cwd="/", capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise InterpreterError(f"{path} does not start within {_SECONDS:g} s") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InterpreterError(f"{path} does not start: {reason.lower()}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise InterpreterError(f"{path} does not start: {said or f'it ends with status {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")
