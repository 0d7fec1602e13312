"""Code compiled once in the warm server and inherited by every child: no run compiles the tests anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import CodeType


class Compiled:
    """Code objects by file, each good for as long as its file is unchanged on disk."""

    def __init__(self) -> None:
        self._codes: dict[str, tuple[tuple[int, int], CodeType]] = {}

    def add(self, paths: Iterable[str], compile_file: Callable[[str], CodeType]) -> None:
        """Compile the files; one that does not compile fails where it is imported."""
        for path in paths:
            try:
                self._codes[path] = (_stamp(path), compile_file(path))
            except Exception:
                self._codes.pop(path, None)

    def refresh(self, compile_file: Callable[[str], CodeType]) -> None:
        """Compile files again that have changed on disk."""
        for path in list(self._codes):
            if self.get(path) is None:
                self.add([path], compile_file)

    def codes(self) -> Iterator[CodeType]:
        """Every code object: of the files, and of the functions and classes in them."""
        left = [code for _, code in self._codes.values()]
        while left:
            code = left.pop()
            yield code
            left += [constant for constant in code.co_consts if isinstance(constant, CodeType)]

    def paths(self) -> list[str]:
        return list(self._codes)

    def get(self, path: str) -> CodeType | None:
        """The file's code; None where it is not compiled or the file has changed since."""
        kept = self._codes.get(path)
        try:
            return kept[1] if kept is not None and kept[0] == _stamp(path) else None
        except OSError:
            return None


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


PROJECT = Compiled()  # modules of the project, as import compiles them
TESTS = Compiled()  # test files, with the asserts rewritten by pytest
