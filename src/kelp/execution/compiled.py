"""Code compiled once in the warm server and inherited by every child: no run compiles the tests anew."""

import os
from collections.abc import Callable, Iterable
from types import CodeType


class Compiled:
    """Code objects by file, each good for as long as its file is unchanged on disk."""

    def __init__(self) -> None:
        self._codes: dict[str, tuple[tuple[int, int], CodeType]] = {}

    def add(self, paths: Iterable[str], compile_file: Callable[[str], CodeType]) -> None:
        """Compile the files; those that cannot be are left to fail where they are imported."""
        for path in paths:
            try:
                self._codes[path] = (_stamp(path), compile_file(path))
            except Exception:
                self._codes.pop(path, None)

    def get(self, path: str) -> CodeType | None:
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
