"""A file that shows, by lines that it executes, which edits would change a value (`Language.probed` makes it)."""

from typing import NamedTuple

from kelp.syntax.edits import Edit


class Probed(NamedTuple):
    """A file with probes. `marks` are the two lines of each probe: an edit gives another value, it raises."""

    source: bytes
    edits: list[tuple[int, list[Edit]]]  # each probe's function, as its number, and the edits whose effect it shows
    marks: list[tuple[int, int]]
    symptoms: frozenset[int]  # probes for which the value is wrong wherever it occurs, even if a test passes
    incomplete: frozenset[int]  # lines that run where the run was too long for all probes
