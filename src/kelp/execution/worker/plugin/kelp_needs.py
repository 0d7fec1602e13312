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
GPU = "a GPU"
_INTERNET = (2, 10)  # AF_INET, AF_INET6: a pair of AF_UNIX, as asyncio makes one, is allowed
_STARTS = frozenset("subprocess.Popen pty.spawn os.fork os.forkpty os.exec os.posix_spawn os.spawn os.system".split())
_HOSTS = ("socket.getaddrinfo", "socket.gethostbyname")
_LOCAL = (None, "", "localhost", "localhost.localdomain", "::1", "::", "0.0.0.0", os.uname().nodename)
_SERVERS = {
    "5432": "PostgreSQL", "3306": "MySQL", "6379": "Redis", "27017": "MongoDB", "5672": "RabbitMQ", "9092": "Kafka",
    "9200": "Elasticsearch", "11211": "memcached", "1433": "SQL Server", "1521": "Oracle",
}  # fmt: skip
_NO_SERVER = re.compile("refused|No such file")
_NO_GPU = re.compile(r"\bCUDA\b|NVIDIA|ROCm|\bGPUs?\b|backend:? '?(?:gpu|cuda|rocm)")
_SITES = re.compile("[/\\\\](?:site|dist)-packages[/\\\\]")
_REFUSALS = (errno.EPERM, errno.EACCES, errno.EROFS)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_BY_HOOK = " is not allowed in the sandbox"  # how the messages of Kelp's own audit hooks end
# Exceptions of pytest for an async test or a marker without a plugin; the warnings are errors in pytest 9.0, and in 8
# under `filterwarnings = error`.
_MISSING_PLUGIN = ("Failed", "PytestRemovedIn9Warning", "PytestUnhandledCoroutineWarning")
_MARKER = re.compile("('[^']+') not found in `markers` configuration option")


class Needs:
    """Records the resources that running tests ask for and the sandbox refuses.

    `home` is the folder of temporary files, `folders` those that tests may be meant to run in. `inside`: processes and
    connections are allowed as long as they stay in the sandbox. `attempted` is the latest refused resource that a test
    asked for: a program may catch the exception, and `os.system` raises none. `port` is the one it connected to last.
    """

    def __init__(self, home: str, folders: Iterable[str], *, inside: bool):
        self.home, self.folders, self.inside = os.path.realpath(home), tuple(folders), inside
        self.attempted: str | None = None
        self.port: object = None

        def hook(event: str, arguments: Any) -> None:
            if event in _HOSTS:
                self.attempted = self.attempted if _is_local(arguments[0]) else NETWORK
            elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
                self.attempted = self.attempted if _is_local(arguments[1][0]) else NETWORK
                self.port = arguments[1][1]
            elif not inside and event == "socket.__new__" and arguments[1] in _INTERNET:
                self.attempted = NETWORK
            elif not inside and event in _STARTS:
                self.attempted = PROCESS

        sys.addaudithook(hook)

    def forget(self) -> None:
        """Begin another test."""
        self.attempted = self.port = None

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
        if (outside := self._outside(raised)) is not None:
            return outside
        if not isinstance(raised, OSError) or not self._is_of_the_system(raised):
            return None
        if kind in ("gaierror", "herror"):
            return NETWORK
        path = os.fsdecode(raised.filename) if isinstance(raised.filename, (str, bytes)) else None
        if raised.errno == errno.ENOENT and path is not None:
            return self._elsewhere(path) or self._hidden(path)
        if raised.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return NETWORK
        return self._refused(raised, path) if raised.errno in _REFUSALS else None

    def _outside(self, raised: Any) -> str | None:
        """A server or a device of the machine, as a library tells that it is not there."""
        file, by_statement = _innermost(raised)
        if by_statement and not _SITES.search(file):  # the program's own words
            return None
        text = str(raised)
        if _NO_SERVER.search(text):
            ports = [port for port in (*re.findall(r"\d+", text), str(self.port)) if port in _SERVERS]
            return f"a server outside of the sandbox, {_SERVERS[ports[0]]} on port {ports[0]}" if ports else None
        return GPU if _NO_GPU.search(text) and not isinstance(raised, SyntaxError) else None

    def _hidden(self, path: str) -> str | None:
        """A path that is not there, and may be there outside of the sandbox: who asks, outside, sees to that."""
        if not self.inside or not os.path.isabs(path) or os.path.realpath(path).startswith(self.home):
            return None
        if path.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")):
            return GPU
        above = os.path.dirname(path)
        return f"access to {path if os.path.isdir(above) else above}"

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


def _is_local(host: object) -> bool:
    text = host.decode("latin-1") if isinstance(host, bytes) else host
    return text in _LOCAL or (isinstance(text, str) and text.startswith("127."))


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
