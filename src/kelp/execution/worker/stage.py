"""The program's side of a run, in the child's main thread: what the judge asks for is called here, and only here.

Nothing in this file is trusted.  The program may call all of it, patch it and walk its frames; what it cannot do is
stand in a frame of `perform` or `guard` while it is itself running on top of that frame.  That is what the judge
(`judge.py`, in another thread) goes by: not by what it is told, but by the line at which this thread has stopped.
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
    """Two locks and places to leave things, shared with the judge; only one of the two threads runs at a time.

    `tasks` are what the judge wants called: a function, its arguments, its named arguments.  `spent` is what the judge
    has looked at and needs no more.
    """

    def __init__(self) -> None:
        self.tasks: list[Any] = []
        self.spent: list[Any] = []
        self.go, self.ready = _thread.allocate_lock(), _thread.allocate_lock()
        self.go.acquire()
        self.ready.acquire()

    def say(self, _what: str, *facts: Any) -> None:
        """Stop here until the judge has looked.  It takes the word from the caller's line, not from the argument.

        Destructors are the program's code, so what the judge has looked at ends here and not with it, and no garbage
        is collected while it looks.
        """
        collects = _collects()
        _collect_off()
        self.ready.release()
        self.go.acquire()
        self.spent.clear()
        if collects:
            _collect_on()

    def perform(self) -> None:
        """Call what the judge leaves, for ever: the bottom of the stack."""
        self.say("idle")
        while True:
            task = self.tasks.pop()
            try:  # in one expression: what is told is what was called
                self.say("returned", task, task[0](*task[1], **task[2]))
            except BaseException as error:
                self.say("raised", task, error)

    def guard(
        self, name: str, test: Callable[..., Any], run: Callable[..., Any] | None, arguments: dict[str, Any]
    ) -> Any:
        """Call a function of the tests, by way of `run` where there is one, so that the judge sees how it ends."""
        self.say("enter", name, test, run)
        try:
            value = test(**arguments) if run is None else run(test)
        except BaseException as error:
            self.say("threw", error)
            raise
        self.say("left")
        return value

    def collected(self, names: list[str], may_skip: list[str], functions: list[Any]) -> None:
        self.say("collected", names, may_skip, functions)

    def skipped(self, name: str) -> None:
        self.say("skipped", name)

    def finish(self) -> None:
        self.say("finish")


def places() -> tuple[CodeType, dict[tuple[int, int], str]]:
    """The code of `say`, and what each line that calls it says: by the id of its code, and its number."""
    said = {}
    for function in (Stage.perform, Stage.guard, Stage.collected, Stage.skipped, Stage.finish):
        lines, first = inspect.getsourcelines(function)
        for number, line in enumerate(lines, first):
            if found := re.search(r'self\.say\("(\w+)"', line):
                said[id(function.__code__), number] = found[1]
    return Stage.say.__code__, said
