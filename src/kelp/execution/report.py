"""How the child tells what happened: lines of JSON on a pipe of its own, each with the run's secret."""

import json
import os
from collections.abc import Callable

_encode = json.JSONEncoder().encode  # bound now: the program under test shares this interpreter
_write = os.write


class _Lines(set[int]):
    """The program's lines that a test executes, each told when it is first reached: a run may be killed."""

    def __init__(self, tell: Callable[..., None]):
        super().__init__()
        self._tell = tell

    def add(self, line: int) -> None:
        if line not in self:
            super().add(line)
            self._tell("line", line=line)


class Report:
    """Writes events to the pipe as they happen, so that a run that is killed keeps what it had reported."""

    def __init__(self, pipe: int, secret: str, *, stop_on_failure: bool):
        def send(event: str, **facts: object) -> None:
            line = (_encode({"secret": secret, "event": event, **facts}) + "\n").encode()
            while line:
                line = line[_write(pipe, line) :]

        self._send = send
        self._stop_on_failure = stop_on_failure
        self.stopped = False

    def tests(self, count: int) -> None:
        self._send("tests", count=count)

    def begin(self, name: str, call: str | None = None) -> set[int]:
        """Report that a test starts; add the lines that it executes to the set, where the run is traced."""
        self._send("begin", name=name, call=call)
        return _Lines(self._send)

    def outcome(self, name: str, *, status: str, seconds: float, **facts: object) -> bool:
        """Report one test; False where the run is to stop after it."""
        self._send("outcome", name=name, status=status, seconds=seconds, **facts)
        self.stopped = self._stop_on_failure and status not in ("pass", "skip")
        return not self.stopped

    def call(self, call: str, **facts: object) -> None:
        self._send("call", call=call, **facts)

    def protections(self, active: dict[str, str]) -> None:
        self._send("protections", active=active)

    def modules(self, files: dict[str, str | None]) -> None:
        self._send("modules", files=files)

    def error(self, sentence: str, line: int | None = None) -> None:
        self._send("error", sentence=sentence, line=line)

    def done(self) -> None:
        self._send("done")
