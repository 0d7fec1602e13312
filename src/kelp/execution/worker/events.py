"""Events of a run: lines of JSON on a pipe (`protocol.Event`).

Each begins with the run's secret, so that nobody writes one by accident. The program is in the same process and could
find it: whether a bare assert or an example holds is found out from the values that are sent, outside (`verdict.py`).
"""

from __future__ import annotations

import json
import os
from typing import NoReturn

from kelp.execution.worker.plugin.kelp_needs import Needs

_encode = json.JSONEncoder().encode
_write, _exit, _getpid = os.write, os._exit, os.getpid


class Report:
    """Writes events to the pipe as they happen, so that a killed run keeps its events so far."""

    def __init__(self, pipe: int, secret: str, needs: Needs, *, stop_on_failure: bool):
        self._pipe, self._secret, self.needs = pipe, secret, needs
        self._stop_on_failure, self._process = stop_on_failure, _getpid()
        self.stopped = False

    def send(self, event: str, **facts: object) -> None:
        """Report an event, with its fields in `protocol.py`."""
        if event != "line" and _getpid() != self._process:
            _exit(0)  # a fork that returned from its test
        line = f"{self._secret}{_encode({'event': event, **facts})}\n".encode()
        while line:
            line = line[_write(self._pipe, line) :]

    def begin(self, name: str, call: str | None = None) -> None:
        """Report that a test starts."""
        self.needs.forget()
        self.send("begin", name=name, call=call)

    def line(self, line: int) -> None:
        """Report a line of the program that the test executes, when it is first reached: a run may be killed."""
        self.send("line", line=line)

    def outcome(self, name: str, *, status: str, seconds: float, needs: str | None = None, **facts: object) -> None:
        """Report the outcome of a test. `needs` is of its exception, or else the last refused resource it asked for."""
        needs = needs or self.needs.attempted
        self.send("outcome", name=name, status=status, seconds=seconds, needs=needs, **facts)
        self.stopped = self._stop_on_failure and status not in ("pass", "skip")

    def verdict(self, name: str, status: str) -> None:
        """Report that the function of a test, the tests' own, has passed or skipped it."""
        self.send("verdict", name=name, status=status)

    def tampered(self, reason: str) -> NoReturn:
        """Report why no test of the run counts, and end the process."""
        self.send("tampered", reason=reason)
        _exit(70)

    def done(self) -> NoReturn:
        """Report that the run is over, and end the process."""
        self.send("done")
        _exit(0)

    def error(self, sentence: str, line: int | None = None, needs: str | None = None) -> None:
        self.send("error", sentence=sentence, line=line, needs=needs)
