"""Contents of Markdown documents: headings with their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A heading, its depth (1 is that of chapters) and its number, such as "2.1"."""

    depth: int
    title: str
    number: str


def headings(lines: Iterable[str], deepest: int = 3) -> list[Heading]:
    """The headings of a document up to a depth. Lines between code fences are no headings.

    A heading counts on from the one before it of its depth; deeper ones start again below it.
    Where a depth is left out ("#" and then "###"), it counts as 0.
    """
    found = []
    counts = [0] * deepest
    fenced = False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        marks, _, title = line.partition(" ")
        if fenced or not title.strip() or set(marks) != {"#"} or len(marks) > deepest:
            continue
        depth = len(marks)
        counts[depth - 1] += 1
        counts[depth:] = [0] * (deepest - depth)
        number = ".".join(str(count) for count in counts[:deepest])
        found.append(Heading(depth, title.strip(" #"), number))
    return found


def contents(lines: Iterable[str], deepest: int = 3) -> str:
    """The list of contents, each depth indented by two spaces more."""
    return "\n".join(
        f"{'  ' * (heading.depth - 1)}{heading.number} {heading.title}" for heading in headings(lines, deepest)
    )
