"""Resources that a test needs and the sandbox refuses: a failure for lack of one is no fault of the program.

Standard library alone, Python 3.9: it serves Kelp's own runs and, beside `kelp_report.py`, a project's own interpreter.
A program can forge all of it, so it only decides which failures of the file as it is are set aside.
"""

from __future__ import annotations

import errno
import opcode
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

NETWORK, PROCESS, ASYNC = "a network connection", "to start a process", "a pytest plugin for async tests"
_INTERNET = (2, 10)  # AF_INET, AF_INET6: a pair of AF_UNIX, as asyncio makes one, is allowed
_REFUSALS = (errno.EPERM, errno.EACCES, errno.EROFS)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_BY_HOOK = " is not allowed in the sandbox"  # how the messages of Kelp's own audit hooks end
# Exceptions of pytest for an async test or a marker without a plugin; the warnings are errors in pytest 9.0, and in 8
# under `filterwarnings = error`.
_MISSING_PLUGIN = ("Failed", "PytestRemovedIn9Warning", "PytestUnhandledCoroutineWarning")
_MARKER = re.compile("('[^']+') not found in `markers` configuration option")


class Needs:
    """Records the resources that running tests ask for and the sandbox refuses.

    `home` is the folder that tests run in, `folders` those that they may be meant to run in, and `refused` the
    resources that the sandbox refuses. `attempted` is the latest of these that was asked for: a program may catch the
    exception, and `os.system` raises none.
    """

    def __init__(self, home: str, folders: Iterable[str], refused: tuple[str, ...] = (NETWORK, PROCESS)):
        self.home, self.folders = os.path.realpath(home), tuple(folders)
        self.attempted: str | None = None

        def hook(event: str, arguments: Any) -> None:
            if event in {
                "socket.__new__", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "pty.spawn",
                "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system",
            }:  # fmt: skip
                kind = NETWORK if event.startswith("socket.") else PROCESS
                if kind in refused and (event != "socket.__new__" or arguments[1] in _INTERNET):
                    self.attempted = kind

        sys.addaudithook(hook)

    def of(self, error: BaseException) -> str | None:
        """The unmet need, a noun phrase, that raised an exception or one that it followed."""
        package = self._package(error)
        if package is not None:
            return package
        left: list[BaseException | None] = [error]
        seen: set[int] = set()
        while left and len(seen) < 50:
            raised = left.pop(0)
            if raised is not None and id(raised) not in seen:
                seen.add(id(raised))
                try:
                    if (need := self._of(raised)) is not None:
                        return need
                    several = getattr(raised, "exceptions", ())  # of a group
                    left += [raised.__cause__, raised.__context__, *(several if type(several) is tuple else ())]
                except BaseException:  # it is the program's, and reading it may do anything
                    continue
        return None

    def _of(self, raised: Any) -> str | None:
        kind = type(raised).__name__
        if kind == "FixtureLookupError" and raised.msg is None:
            return f"the fixture {raised.argname!r}"
        if kind in _MISSING_PLUGIN:
            message = str(raised)
            if message.startswith("async def functions are not") or " requested an async fixture " in message:
                return ASYNC
            marker = _MARKER.match(message)
            return f"the pytest plugin of the marker {marker[1]}" if marker else None
        if isinstance(raised, ModuleNotFoundError) and raised.name:
            return self._module_elsewhere(raised.name)
        if not isinstance(raised, OSError) or not self._is_of_the_system(raised):
            return None
        if kind in ("gaierror", "herror"):
            return NETWORK
        path = os.fsdecode(raised.filename) if isinstance(raised.filename, (str, bytes)) else None
        if raised.errno == errno.ENOENT and path is not None:
            return self._elsewhere(path)
        return self._refused(raised, path) if raised.errno in _REFUSALS else None

    def _package(self, error: BaseException) -> str | None:
        """The package, in words, that an import did not find: a module that is neither the project's nor Python's."""
        try:
            if not isinstance(error, ModuleNotFoundError) or _innermost(error)[1]:
                return None
            name = error.name
            known: frozenset[str] = getattr(sys, "stdlib_module_names", frozenset())  # since Python 3.10
            if type(name) is not str or "." in name or name in known:
                return None
            places = [place for folder in self.folders for place in (folder, *_folders_in(folder))]
            if self._found(places, name) or self._found(places, name + ".py"):  # it is of the project
                return None
            return f"the package {name!r}, which {sys.executable} does not have"
        except BaseException:  # it is the program's, and reading it may do anything
            return None

    def _module_elsewhere(self, name: str) -> str | None:
        """The folder, in words, that has a module of this name and is not on the import path."""
        name = name.replace(".", os.sep)
        there = [folder for folder in self.folders if folder not in sys.path]
        return self._found(there, name + ".py") or self._found(there, os.path.join(name, "__init__.py"))

    def _refused(self, raised: OSError, path: str | None) -> str | None:
        message = raised.strerror or ""
        if raised.errno == errno.EPERM and self.attempted is not None:
            return self.attempted
        if message.endswith(_BY_HOOK):
            return f"to use {message[: -len(_BY_HOOK)]}"
        if path is not None:
            if raised.errno == errno.EACCES and os.path.realpath(path).startswith(os.path.join(self.home, "")):
                return None  # of modes that the program itself has set
            return f"to write to {path}" if raised.errno == errno.EROFS else f"access to {path}"
        if "multiprocessing" in _innermost(raised)[0].split(os.sep):  # its locks
            return PROCESS
        return f"a system call ({message.lower()})"

    def _is_of_the_system(self, raised: OSError) -> bool:
        """Return whether the exception comes from a system call, not a `raise`: programs may raise anything."""
        return not _innermost(raised)[1] or (raised.strerror or "").endswith(_BY_HOOK)

    def _elsewhere(self, path: str) -> str | None:
        """The folder, in words, that has the file which was looked for in the one that tests run in."""
        if os.path.realpath(os.getcwd()) != self.home:
            return None
        name = path
        if os.path.isabs(path):  # it is made of the folder that tests run in, if that is none of the project's
            if self.home in self.folders:
                return None
            name = os.path.relpath(path, self.home)
            if name.startswith(os.pardir):
                return None
        if os.path.lexists(name):
            return None  # of a link to nothing
        above = os.path.dirname(name)
        return self._found(self.folders, name) or (
            self._found(self.folders, above) if above and not os.path.exists(above) else None
        )

    def _found(self, folders: Iterable[str], name: str) -> str | None:
        """The first of the folders that has the file, in words."""
        for folder in folders:
            if os.path.exists(os.path.join(folder, name)):
                return f"to run in {folder}, where {name} is"
        return None


def _folders_in(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:  # one that the sandbox does not let through
        return []


def _innermost(error: BaseException) -> tuple[str, bool]:
    """The file in which an exception was raised, and whether a `raise` did it."""
    traceback = error.__traceback__
    if traceback is None:
        return "", True
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return code.co_filename, code.co_code[traceback.tb_lasti] == _RAISE
