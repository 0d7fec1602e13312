"""The program under test, in the child process: imported from memory, its lines found again in tracebacks."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from kelp.execution.worker.code_cache import PROJECT
from kelp.execution.worker.folders import package_root
from kelp.execution.worker.plugin.kelp_failures import safe_message
from kelp.execution.worker.plugin.kelp_lines import Lines

LineReport = Callable[[int], None]
BARE_MODULE = "program"  # the name of the module that a program without a file is executed as


class Candidate:
    """A program's source, in place of the file at `path` or, without one, as a bare module."""

    def __init__(self, source: bytes, path: str | None):
        self.source = source
        self.path = path
        self.filename = path or "<program>"
        text = source.decode("utf-8", "replace")
        linecache.cache[self.filename] = (len(source), None, text.splitlines(True), self.filename)
        self._name = os.path.basename(self.filename)
        self._real = os.path.realpath(self.filename)
        self._code: types.CodeType | None = None
        self._tracer: Lines | None = None
        self._report: LineReport | None = None

    def is_at(self, path: object) -> bool:
        """Return whether this path leads to the file that the candidate replaces."""
        if self.path is None or not isinstance(path, str) or os.path.basename(path) != self._name:
            return False
        return os.path.realpath(path) == self._real

    def compile(self) -> types.CodeType:
        if self._code is None:
            self._code = compile(self.source, self.filename, "exec", dont_inherit=True)
        return self._code

    def install(self) -> None:
        """Patch the import system: every import of the candidate's file, under whatever name, gets this source."""
        if self.path is None:
            return
        is_ours = self.is_at
        loader: Any = importlib.machinery.SourceFileLoader
        get_code, get_data = loader.get_code, loader.get_data

        def get_code_or_ours(loader: Any, fullname: str) -> Any:
            if is_ours(loader.path):
                return self.compile()
            return PROJECT.get(loader.path) or get_code(loader, fullname)

        def get_data_or_ours(loader: Any, path: Any) -> Any:
            return self.source if is_ours(path) else get_data(loader, path)

        loader.get_code, loader.get_data = get_code_or_ours, get_data_or_ours
        for module_name, module in list(sys.modules.items()):  # modules that the warm server itself uses
            if is_ours(getattr(module, "__file__", None)):
                del sys.modules[module_name]

    def load(self, setup: str) -> dict[str, Any]:
        """Execute the program and `setup`; return the namespace that its asserts read."""
        if self.path is None:
            module = types.ModuleType(BARE_MODULE)
            sys.modules[BARE_MODULE] = module  # dataclasses and pickle look their classes' module up
            exec(compile(setup, "<setup>", "exec", dont_inherit=True), module.__dict__)
            exec(self.compile(), module.__dict__)
            return module.__dict__
        name = dotted_name(self.path)
        if "." in name:
            importlib.import_module(name.rpartition(".")[0])
        if name not in sys.modules or not self.is_at(getattr(sys.modules[name], "__file__", None)):
            spec = importlib.util.spec_from_file_location(name, self.path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{self.path} is no Python file")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        namespace = dict(sys.modules[name].__dict__)
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), namespace)
        return namespace

    def line_of(self, exception: BaseException) -> int | None:
        """The innermost line of the program on the exception's traceback, or that of its syntax error."""
        if isinstance(exception, SyntaxError) and exception.filename == self.filename:
            return exception.lineno
        places = walk_tb(exception.__traceback__)
        lines = [line for frame, line in places if frame.f_code.co_filename == self.filename]
        return lines[-1] if lines else None

    def trace(self) -> None:
        """From now on, report the program's executed lines to the function of `record` or `recording`."""
        self._tracer = Lines(lambda path: 0 if path == self.filename else None, self._executed)

    def _executed(self, line: int) -> None:
        if self._report is not None:
            self._report(line)

    def record(self, report: LineReport | None) -> LineReport | None:
        """In a traced run, report the program's executed lines to a function from now on; return the previous one."""
        before, self._report = self._report, report
        if self._tracer is not None and before is not None:
            self._tracer.stop()
        if self._tracer is not None and report is not None:
            self._tracer.start()
        return before

    @contextmanager
    def recording(self, report: LineReport | None) -> Iterator[None]:
        """`record` as a context manager: the previous function is restored at its end."""
        before = self.record(report)
        try:
            yield
        finally:
            self.record(before)


def dotted_name(path: str) -> str:
    name = os.path.splitext(os.path.relpath(path, package_root(path)))[0].replace(os.sep, ".")
    return name.removesuffix(".__init__")


def describe(exception: BaseException, line: int | None) -> str:
    """`IndexError line 4: list index out of range`."""
    at = "" if line is None else f" line {line}"
    message = exception.msg if isinstance(exception, SyntaxError) else safe_message(exception)
    return f"{type(exception).__name__}{at}" + (f": {message}" if message else "")
