"""Checks in the program's own process, against accidents; a program that knows them can evade them.

They keep a run of test files from passing by a test in place of another, by a skip, or by tools and tests that were
replaced; and a value that equals anything from passing for the expected one.
"""

from __future__ import annotations

import builtins
import operator
import os
import sys
import types
from collections.abc import Callable, Mapping
from functools import partial
from traceback import walk_tb
from typing import Any

_Function, _Method = types.FunctionType, types.MethodType
_FIXED_BUILTINS = "__builtins__" in vars(types.FunctionType)  # since 3.10; before, those of the namespace at each call
_PLAIN = (int, str, float, bool, bytes, complex, type(None))
_SIZED = (str, list, tuple, dict)
_GROUPS = (list, tuple, set, frozenset)


def plain(value: Any, depth: int = 0) -> bool:
    """Return whether a value is of built-in types all through, so that comparing it runs no code of the program."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth > 20:
        return False
    if kind in _GROUPS:
        return all(plain(part, depth + 1) for part in value)
    return kind is dict and all(plain(k, depth + 1) and plain(v, depth + 1) for k, v in value.items())


def decoys() -> list[Any]:
    """Return values, no two of them equal."""
    n = int.from_bytes(os.urandom(6), "big") + 1000
    few = 2 + n % 50
    numbers = [few, few + 1, few + 60, n, -n, n + 0.5, -n - 0.5]
    texts = [str(n), hex(n), b"%d" % n, ""]
    return [object(), True, False, None, *numbers, *texts, [n], [], (n,), (), {n: n}, {}, {n}, frozenset((n, few))]


def _like(value: Any, leaf: Any) -> Any:
    """Return a value of the same shape, with `leaf` for every part that is no list, tuple or dict."""
    if type(value) in (list, tuple):
        return type(value)([_like(part, leaf) for part in value])
    return {key: _like(part, leaf) for key, part in value.items()} if type(value) is dict else leaf


def fair(value: Any, expected: Any, equal: Callable[[Any, Any], Any] = operator.eq) -> bool:
    """Return whether `==` distinguishes the value: one that equals two different decoys equals anything."""
    if plain(value):
        return True
    equals: list[Any] = []
    alike = [_like(expected, (os.urandom(6), number)) for number in range(2 if plain(expected) and expected else 0)]
    for decoy in decoys() + [other for other in alike if other != expected]:
        try:
            if equal(value, decoy):
                equals.append(decoy)
        except Exception:
            continue
    full = [decoy for decoy in equals if type(decoy) not in _SIZED or decoy]  # an empty value may equal all empty ones
    return len(full) + (len(full) < len(equals)) < 2


def same(left: Any, right: Any, word: str = "==") -> Any:
    """Return `left == right` (or `left in right`) for an assert of a test file; False where a side is not fair."""
    holds = left == right if word == "==" else left in right
    return holds if fair(left, right) and (word == "in" or fair(right, left)) else False


Snapshot = list[tuple[str, Any, list[str], list[int]]]


def snapshot(namespaces: dict[str, Any]) -> Snapshot:
    """Return the functions and classes in the namespaces now, for `changed` to compare."""
    entries = []
    for label, namespace in namespaces.items():
        names = [name for name, value in namespace.items() if callable(value)]
        entries.append((label, namespace, names, _ids(namespace, names)))
    return entries


def _ids(namespace: Any, names: list[str]) -> list[int]:
    if not {*map(type, namespace)} <= {str}:
        return []  # a key of the program's type could equal any of the names
    values = [namespace.get(name) for name in names]
    return [id(value) for value in values] + [id(value.__code__) for value in values if type(value) is _Function]


def changed(before: Snapshot) -> str | None:
    """Return the first name whose function or class is another now; None if there is none."""
    for label, namespace, names, ids in before:
        now = _ids(namespace, names)
        if now != ids:
            different = [name for name, old, new in zip(names, ids, now) if old != new]
            return label + "." + (different[0] if different else "*")
    return None


class TestChecks:
    """Checks of the tests of files: of the code that runs as a test, and the names that it reads.

    `tests` are the codes of the tests and the project, by id; `labels`, by test function, what `label` gives for the
    file as it is; `words`, by test file, the meanings of names and the builtins' names that must stay; `runs` are the
    functions through which unittest calls tests; `inner_test` returns the attributes of hypothesis' handle on a test.
    """

    __test__ = False  # pytest must not collect it

    def __init__(
        self,
        program: str,
        scratch: str,
        trusted: tuple[str, ...],
        labels: Mapping[str, set[str]],
        *,
        tests: Mapping[int, types.CodeType],
        words: Mapping[str, tuple[dict[str, Any], frozenset[str]]],
        runs: tuple[Any, ...],
        inner_test: Callable[[Any], Any],
    ):
        self.program, self.scratch, self.trusted, self.labels = program, scratch, trusted, labels
        self.tests, self.words, self.runs, self.inner_test = tests, words, runs, inner_test

    def intruder(self) -> str | None:
        """Return a file below the running test on the stack that takes no part in running tests, or None."""
        frame: Any = sys._getframe()
        while frame is not None:
            file = frame.f_code.co_filename
            if type(file) is not str:
                return "a file whose name is no plain text"
            if file == self.program or file.startswith(self.scratch) or not file.startswith(self.trusted):
                return file
            frame = frame.f_back
        return None

    def function(self, name: str, test: Any, caller: Any) -> Any:
        """Return the function of the tests that `test` is or wraps, if pytest or unittest's own `caller` calls it.

        None if there is none, or if another function has the name in the file as it is.
        """
        if caller is not None and not (type(caller) is _Method and any(caller.__func__ is each for each in self.runs)):
            return None
        labels = self.labels.get(name.partition("[")[0])
        return None if labels is not None and label(test) not in labels else self._in_tests(test)

    def _in_tests(self, test: Any) -> Any:
        for _ in range(20):
            test = _unbound(test)
            if type(test) is not _Function:
                return None
            if id(test.__code__) in self.tests:
                return test
            if test.__code__.co_filename == self.program:
                return None
            inner = vars(test).get("hypothesis")
            test = vars(test).get("__wrapped__") if inner is None else self.inner_test(inner).get("inner_test")
        return None

    def replaced(self, test: Any) -> str | None:
        """Return a message on the first name in the test's module that was replaced, or None."""
        file = test.__code__.co_filename
        meant, builtin = self.words.get(file, ({}, frozenset()))
        where = f" of the test file was replaced while the tests ran ({file})"
        for key, value in list(test.__globals__.items()):
            if key in builtin or (key in meant and value is not meant[key]):
                return key + where
        used = test.__builtins__ if _FIXED_BUILTINS else test.__globals__.get("__builtins__")
        return None if used is vars(builtins) or used is builtins else "__builtins__" + where

    def through_program(self, error: BaseException) -> bool:
        """Return whether the program's code is on the traceback."""
        return any(frame.f_code.co_filename == self.program for frame, _ in walk_tb(error.__traceback__))


def label(test: Any) -> str:
    """Return file and qualified name of a test's code and of the code that it claims to wrap."""
    parts = ""
    for _ in range(20):
        test = _unbound(test)
        if type(test) is not _Function:
            break
        code = test.__code__
        parts += f"{code.co_filename}:{getattr(code, 'co_qualname', code.co_name)}\n"
        test = vars(test).get("__wrapped__")
    return parts


def _unbound(test: Any) -> Any:
    if type(test) is partial:
        test = test.func
    return test.__func__ if type(test) is _Method else test
