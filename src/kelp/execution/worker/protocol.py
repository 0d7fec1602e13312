"""Messages between a Sandbox, its server and the runs, and cleaning up.

Sandbox and server exchange JSON after a length of four bytes: a `Config` and a `Hello`, then a `Request` and a `Reply`
for each run.  A run writes `Event`s to its pipe, one line of JSON each.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, Union, get_args

Status = Literal["pass", "fail", "error", "timeout", "skip"]
STATUSES: tuple[Status, ...] = get_args(Status)
ENVIRONMENT = {  # of every process that runs tests
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same program gives the same observation
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Config(TypedDict):
    """A server's suite, its limits (the fields of `suite.Limits`) and the folders that it may use."""

    asserts: list[str]
    pytest_files: list[str]
    only: list[str]
    doctest: bool
    setup: str
    module: str | None
    limits: dict[str, Any]
    allow_weak: bool
    home: str
    folder: str
    scratch: str
    pythonpath: list[str]
    command: list[str]
    plan: Plan | None


class Plan(TypedDict):
    """Plan of a test command: project, program, paths to read, folders to list, and environment.

    `pytest`: the arguments of a command that is pytest in the server's own Python, which runs it in a fork of itself.
    """

    root: str
    program: str
    readable: list[str]
    listed: list[str]
    environment: dict[str, str]
    pytest: list[str] | None


class Hello(TypedDict):
    """The server's first message. `refused`: it runs nothing, since a protection is missing or for the `error`."""

    protections: dict[str, str]
    refused: bool
    error: str | None


class Request(TypedDict):
    """One run. "probe" only sets protections up, "rehearsal" only loads and collects; `asserts` None: the suite's.

    For a test command: `files` are paths with their sources in this run; `only` are the tests of pytest to run, in this
    order (None: all); a survey traces functions of the whole project, in tests of at most `test_seconds`, and runs the
    tests `front` first; it ends when a test has failed and `enough_seconds` have passed.
    """

    kind: Literal["tests", "calls", "probe", "rehearsal"]
    source: str  # decoded as Latin-1, so that any bytes fit
    first: str | None
    stop_on_failure: bool
    trace: bool
    shuffle: int | None  # seed of the order of the tests of files
    asserts: list[str] | None
    setup: str | None
    calls: list[str]
    repr_limit: int
    seconds: float | None  # None: the limit of the config
    cpu_seconds: float | None
    files: list[list[str]]  # sources decoded as Latin-1
    only: list[str] | None
    front: list[str]
    survey: bool
    enough_seconds: float | None
    test_seconds: float | None


PROBE: Request = {
    "kind": "probe", "source": "", "first": None, "stop_on_failure": False, "trace": False, "shuffle": None,
    "asserts": None, "setup": None, "calls": [], "repr_limit": 0, "seconds": None, "cpu_seconds": None, "files": [],
    "only": None, "front": [], "survey": False, "enough_seconds": None, "test_seconds": None,
}  # fmt: skip


class Reply(TypedDict):
    """End of a run. `ended`: "done", "exit", "deadline", "cpu", "flood", "tasks", "memory" or "lost".

    `status`: the exit status, negative for a signal; `expected`: the tests of the file as it is; `changed`: files of
    the project that a command has changed; `last`: the server cannot run another.
    """

    events: list[Event]
    ended: str
    status: int
    output: str
    seconds: float
    expected: list[str]
    changed: list[str]
    last: bool


class Source(TypedDict):
    """Facts of the program's text, sent before it runs: names that it binds (`leaves.imports`), examples by name."""

    event: Literal["source"]
    names: dict[str, str]
    examples: dict[str, list[Any]]


class Begin(TypedDict):
    """A test or call starts; `call` is the call that it is about."""

    event: Literal["begin"]
    name: str
    call: str | None


class Line(TypedDict):
    """The running test has executed a line of the program; the lines of several files are counted through."""

    event: Literal["line"]
    line: int


class Code(TypedDict):
    """A function of the project is called for the first time; these events number functions from 0."""

    event: Literal["code"]
    path: str
    line: int


class Reached(TypedDict):
    """Functions that a test has called, by number; of no name: that were called while tests were imported."""

    event: Literal["reached"]
    name: str
    codes: list[int]


class Raised(TypedDict):
    """Project files and lines on the traceback of a failing test, the innermost last."""

    event: Literal["raised"]
    name: str
    paths: list[str]
    lines: list[int]


class Outcome(TypedDict):
    """A test has ended. Its status "pass" counts with a verdict.

    `evidence`: values or texts that an assert or example is judged by outside (`verdict.py`); `vouched`: it held there,
    as the server finds.
    """

    event: Literal["outcome"]
    name: str
    status: Status
    seconds: float
    call: str | None
    got: str | None
    expected: str | None
    exception: str | None
    message: str | None
    line: int | None
    needs: str | None
    evidence: list[Any]
    vouched: bool


class CallValue(TypedDict):
    """Result of a call: its repr, or the name of its exception."""

    event: Literal["call"]
    repr: str | None
    exception: str | None
    round_trips: bool


class Modules(TypedDict):
    """Files of imported modules, and those whose asserts pytest has rewritten."""

    event: Literal["modules"]
    files: dict[str, str | None]
    rewritten: list[str]


class Error(TypedDict):
    """The tests cannot be run, for the reason in `sentence`."""

    event: Literal["error"]
    sentence: str
    line: int | None
    needs: str | None


class SessionStarted(TypedDict):
    """The pytest of a command has loaded the plugin."""

    event: Literal["hello"]


class Collected(TypedDict):
    """Tests that the pytest of a command has collected."""

    event: Literal["collected"]
    names: list[str]


class SessionFinished(TypedDict):
    """The pytest of a command has ended its session."""

    event: Literal["finished"]


class Protections(TypedDict):
    """Protections of the run that are active, by what means."""

    event: Literal["protections"]
    active: dict[str, str]


class Expected(TypedDict):
    """A test that should run; `label` identifies its code."""

    event: Literal["test"]
    name: str
    label: str | None


class Verdict(TypedDict):
    """The function of a test has ended, and was the tests' own."""

    event: Literal["verdict"]
    name: str
    status: Status


class Unknown(TypedDict):
    """A test whose code is not that of the test files."""

    event: Literal["unknown"]
    name: str


class Tampered(TypedDict):
    """No test of the run counts, for this reason."""

    event: Literal["tampered"]
    reason: str


class Done(TypedDict):
    """The run has ended regularly."""

    event: Literal["done"]


Event = Union[  # noqa: UP007 (Python 3.9)
    Source, Begin, Line, Code, Reached, Raised, Outcome, CallValue, Modules, Error, SessionStarted, Collected,
    SessionFinished,
    Protections, Expected, Verdict, Unknown, Tampered, Done,
]  # fmt: skip


def as_event(value: object) -> Event | None:
    """The event that a value from JSON is, with the fields of its type alone; None where a field is malformed."""
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return None
    fields = _FIELDS.get(value["event"])
    if fields is None:
        return None
    try:
        event: Any = {name: read(value.get(name)) for name, read in fields.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    event["event"] = value["event"]
    return event


def _of(kind: type, value: Any) -> Any:
    """Return a value that is of this type, and of no subclass. Raises TypeError for any other."""
    if type(value) is not kind:
        raise TypeError
    return value


def _reader(annotation: str) -> Callable[[Any], Any]:
    """Return the function that reads a field with this annotation. A list that is not there is empty."""
    if annotation.endswith(" | None"):
        inner = _reader(annotation[: -len(" | None")])
        return lambda value: None if value is None else inner(value)
    if annotation.startswith("list["):
        inner = _reader(annotation[len("list[") : -1])
        return lambda value: [] if value is None else [inner(part) for part in _of(list, value)]
    if annotation.startswith("dict[str, "):
        inner = _reader(annotation[len("dict[str, ") : -1])
        return lambda value: {key: inner(part) for key, part in _of(dict, value).items()}
    return _READERS[annotation]


def _text(value: Any) -> str:
    return str(_of(str, value)).encode("utf-8", "replace").decode()  # it may hold lone surrogates


def _integer(value: Any) -> int:
    if abs(_of(int, value)) > 2**53:
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    number = float(value if type(value) is int else _of(float, value))
    if not math.isfinite(number):
        raise ValueError
    return number


_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _integer,
    "float": _number,
    "bool": lambda value: value is True,
    "Status": lambda value: STATUSES[STATUSES.index(value)],
    "Any": lambda value: value,
}
_KINDS: tuple[Any, ...] = get_args(Event)
_FIELDS = {
    kind.__annotations__["event"].__forward_arg__[len('Literal["') : -len('"]')]: {
        name: _reader(annotation.__forward_arg__)
        for name, annotation in kind.__annotations__.items()
        if name != "event"
    }
    for kind in _KINDS
}


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message.  Raises OSError."""
    data = json.dumps(message).encode()
    connection.sendall(struct.pack("!I", len(data)) + data)


def receive(connection: socket.socket) -> Any:
    """The next message, or None where the other side is gone."""
    header = _receive_exactly(connection, 4)
    data = None if header is None else _receive_exactly(connection, struct.unpack("!I", header)[0])
    return None if data is None else json.loads(data)


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 2**20))
        if not part:
            return None
        data += part
    return bytes(data)


def timed_out(reply: Reply) -> bool:
    """Return whether the run ended at its limit of seconds, or of processor time."""
    return reply["ended"] in ("deadline", "cpu") or reply["status"] == -signal.SIGXCPU


def function_of(test: str) -> str:
    """The name of a test without its parameters."""
    return test.partition("[")[0]


def empty_folder(folder: str) -> None:
    """Remove everything in the folder, however deep: a program may nest deeper than `shutil.rmtree` can go.

    The contents of its folders are moved up, level by level, until nothing is left.
    """
    numbers = itertools.count()
    while inside := list(os.scandir(folder)):
        for entry in inside:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for below in list(os.scandir(entry.path)):
                if below.is_dir(follow_symlinks=False):
                    os.chmod(below.path, 0o700)
                os.rename(below.path, os.path.join(folder, f"kelp-{next(numbers)}"))
            os.rmdir(entry.path)


def remove_folder(folder: str) -> None:
    """Remove the folder, if it is there, and everything in it."""
    with contextlib.suppress(FileNotFoundError):
        empty_folder(folder)
        os.rmdir(folder)
