"""The program's side of a run, in the child's main thread, which calls the functions that the judge asks for.

Nothing in this file is trusted.  The program may call all of it, patch it and walk its frames, but it cannot stand in a
frame of `perform` or `guard` while it is itself running on top of that frame.  So the judge (`judge.py`, in another
thread) relies on the line at which this thread has stopped, and trusts no argument.
"""

from __future__ import annotations

import _thread
import gc
import inspect
import re
from collections.abc import Callable
from types import CodeType
from typing import Any

_collects, _collect_off, _collect_on = gc.isenabled, gc.disable, gc.enable


class Stage:
    """Two locks and two lists, shared with the judge; only one of the two threads runs at a time.

    `tasks` holds the judge's next call: a function, its arguments, its named arguments.  `spent` holds objects that the
    judge has examined and no longer needs.
    """

    def __init__(self) -> None:
        self.tasks: list[Any] = []
        self.spent: list[Any] = []
        self.go, self.ready = _thread.allocate_lock(), _thread.allocate_lock()
        self.go.acquire()
        self.ready.acquire()

    def notify(self, _event: str, *facts: Any) -> None:
        """Wait here until the judge has read the event: from the caller's line, not from the argument.

        Destructors are the program's code, so objects that the judge has examined end here and not on its thread, and
        no garbage is collected meanwhile.
        """
        collects = _collects()
        _collect_off()
        self.ready.release()
        self.go.acquire()
        self.spent.clear()
        if collects:
            _collect_on()

    def perform(self) -> None:
        """Call the judge's tasks, forever, at the bottom of the stack."""
        self.notify("idle")
        while True:
            task = self.tasks.pop()
            try:  # in one expression: the result is that of the task it names
                self.notify("returned", task, task[0](*task[1], **task[2]))
            except BaseException as error:
                self.notify("raised", task, error)

    def guard(
        self, name: str, test: Callable[..., Any], run: Callable[..., Any] | None, arguments: dict[str, Any]
    ) -> Any:
        """Call a function of the tests, through `run` if there is one, so that the judge knows how it ends."""
        self.notify("enter", name, test, run)
        try:
            value = test(**arguments) if run is None else run(test)
        except BaseException as error:
            self.notify("threw", error)
            raise
        self.notify("left")
        return value

    def collected(self, names: list[str], may_skip: list[str], functions: list[Any]) -> None:
        self.notify("collected", names, may_skip, functions)

    def skipped(self, name: str) -> None:
        self.notify("skipped", name)

    def finish(self) -> None:
        self.notify("finish")


def places() -> tuple[CodeType, dict[tuple[int, int], str]]:
    """The code of `notify`, and the event of each line that calls it, by (id of the line's code, its number)."""
    events = {}
    for function in (Stage.perform, Stage.guard, Stage.collected, Stage.skipped, Stage.finish):
        lines, first = inspect.getsourcelines(function)
        for number, line in enumerate(lines, first):
            if match := re.search(r'self\.notify\("(\w+)"', line):
                events[id(function.__code__), number] = match[1]
    return Stage.notify.__code__, events
