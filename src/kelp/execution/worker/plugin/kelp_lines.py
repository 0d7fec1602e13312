"""Lines of some files that a program executes, by `sys.monitoring` or, before Python 3.12, by trace functions.

Standard library alone, Python 3.9: it serves Kelp's own runs and, beside `kelp_report.py`, a project's own interpreter.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

monitoring: Any = getattr(sys, "monitoring", None)  # since Python 3.12
_TOOL = 4  # the number of a tool that has no name there; hypothesis takes the other, 3


def monitor(callbacks: dict[int, Any], events: int) -> None:
    """Have these functions called for events from now on; none of them ends the monitoring."""
    if monitoring.get_tool(_TOOL) is None:
        monitoring.use_tool_id(_TOOL, "kelp")
    for event, callback in callbacks.items():
        monitoring.register_callback(_TOOL, event, callback)
    if monitoring.events.LINE in callbacks:
        monitoring.restart_events()
    monitoring.set_events(_TOOL, events)


def trace(function: Any) -> Any:
    """Set the trace function of this thread and of later ones, and return the previous one of this thread."""
    before = sys.gettrace()
    threading.settrace(function)
    sys.settrace(function)
    return before


class Lines:
    """Reports each line once, as it is first executed after `start`.

    `offset` gives the number of lines before those of a file, which are counted through, and None for other files.
    """

    def __init__(self, offset: Callable[[str], int | None], report: Callable[[int], None]):
        self.offset, self.report = offset, report
        self.seen: set[int] = set()
        self.before: Any = None

    def start(self) -> None:
        self.seen = set()
        if monitoring is None:
            self.before = trace(self._entered)
        else:
            events = monitoring.events
            monitor({events.PY_START: self._started, events.LINE: self._line}, events.PY_START)

    def stop(self) -> None:
        if monitoring is None:
            trace(self.before)
        else:
            monitor({}, 0)

    def executed(self, line: int) -> None:
        if line not in self.seen:
            self.seen.add(line)
            self.report(line)

    def _entered(self, frame: Any, _event: str, _argument: Any) -> Any:
        offset = self.offset(frame.f_code.co_filename)
        if offset is None:
            return None

        def local(frame: Any, event: str, _argument: Any) -> Any:
            if event == "line":
                self.executed(offset + frame.f_lineno)
            return local

        return local

    def _started(self, code: Any, _at: int) -> Any:
        offset = self.offset(code.co_filename)
        if offset is not None:
            lines = {line for *_, line in code.co_lines() if line is not None}
            if len(lines) == 1:  # a function of one line has no event of a line
                self.executed(offset + lines.pop())
            monitoring.set_local_events(_TOOL, code, monitoring.events.LINE)
        return monitoring.DISABLE

    def _line(self, code: Any, line: int) -> Any:
        offset = self.offset(code.co_filename)
        if offset is not None:
            self.executed(offset + line)
        return monitoring.DISABLE
