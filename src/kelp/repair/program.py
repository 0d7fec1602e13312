"""Program: the files under repair as one text, with their paths."""

from dataclasses import dataclass
from pathlib import Path

from kelp.files import diff
from kelp.syntax.bundle import line_at, split


@dataclass(frozen=True)
class Program:
    """Files and their sources, as a bundle (`syntax/bundle.py`) of one or more."""

    paths: tuple[Path, ...]
    source: bytes

    def files(self, source: bytes) -> dict[Path, bytes]:
        """Return the sources in a state of the bundle, by path."""
        return dict(zip(self.paths, split(source), strict=True))

    def changed(self, source: bytes) -> dict[Path, bytes]:
        """Return the files that a state of the bundle changes, with their new sources."""
        before = self.files(self.source)
        return {path: new for path, new in self.files(source).items() if new != before[path]}

    def diff(self, source: bytes) -> str:
        """Return a unified diff of all changed files."""
        before = self.files(self.source)
        return "".join(diff(path, before[path], new) for path, new in self.changed(source).items())

    def place(self, line: int, source: bytes | None = None) -> tuple[Path, int]:
        """Return the file at a line of the bundle, or of a state of it, and the line in that file."""
        number, line = line_at(self.source if source is None else source, line)
        return self.paths[number], line
