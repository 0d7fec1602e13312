"""Effects of edits: one traced run that evaluates edited expressions where they stand, before any edit has a run.

An edit that changes no value in a failing test cannot repair it, one that raises in a passing test breaks that, and one
that changes values in failing tests alone is what a repair is like. Edits have a spectrum as lines have: the tests in
which they change something (in place of the tests that fail once the edit is made: Papadakis & Le Traon 2015,
"Metallaxis-FL", which takes a run for each edit).
"""

import math
from collections.abc import Mapping, Sequence

from kelp.execution.observation import Observation
from kelp.search.suspicion import SUSPICION_FLOOR, crash_factors, line_values, squared_ochiai
from kelp.syntax.bundle import SEPARATOR, join, split
from kelp.syntax.edits import Edit
from kelp.syntax.functions import Function
from kelp.syntax.probed import Probed

USELESS_NATS = -10.0  # log-suspicion of an edit that changes nothing in a failing test, or raises in a passing one
SELECTIVITY = 2.0  # power of the coefficient: most edits that change a value in a passing test break it
Effects = Mapping[Edit, float]  # log-suspicion of edits, in place of that of their lines


def instrumented(source: bytes, windows: Sequence[Function], edits: Sequence[Sequence[Edit]]) -> Probed | None:
    """Return the file, or bundle, with probes for edits of its functions; None where no edit has one."""
    sources, symptoms, incomplete = split(source), set[int](), set[int]()
    known: list[tuple[int, list[Edit]]] = []
    marks: list[tuple[int, int]] = []
    base = lines = above = 0  # bytes and lines of the files before, and lines with probes
    for file, text in enumerate(sources):
        numbers = [number for number, window in enumerate(windows) if window.file == file]
        inside = [windows[number].moved(0, -base, -lines) for number in numbers]
        base, lines = base + len(text) + len(SEPARATOR), lines + text.count(b"\n") + 1
        if inside and (found := inside[0].language.probed(text, inside, [edits[number] for number in numbers])):
            sources[file] = found.source
            symptoms |= {len(known) + probe for probe in found.symptoms}
            known += [(numbers[number], some) for number, some in found.edits]
            marks += [(differs + above, raises + above) for differs, raises in found.marks]
            incomplete |= {line + above for line in found.incomplete}
        above += sources[file].count(b"\n") + 1
    return Probed(join(sources), known, marks, frozenset(symptoms), frozenset(incomplete)) if known else None


def effects(first: Observation, seen: Observation, probes: Probed, windows: Sequence[Function]) -> list[Effects] | None:
    """Return the effects for each window, or None where the run with probes went another way than the first one.

    An edit's suspicion is a power of Ochiai's coefficient over the tests in which it changes a value, with the factor
    of its line for a crash; that of an edit that cannot help, or raises in a passing test, is next to nothing.
    """
    status = {outcome.name: outcome.status for outcome in first.outcomes}
    if status != {outcome.name: outcome.status for outcome in seen.outcomes} or first.error or seen.error:
        return None
    ran = [outcome for outcome in seen.outcomes if outcome.status != "skip"]
    if any(probes.incomplete & outcome.lines for outcome in ran):
        return None
    failing = [outcome.lines for outcome in ran if outcome.status != "pass"]
    passing = [outcome.lines for outcome in ran if outcome.status == "pass"]
    factor = crash_factors(first)
    found: list[dict[Edit, float]] = [{} for _ in windows]
    of_lines = [line_values(window.program, [factor.get(line, 0.0) for line in _lines(window)]) for window in windows]
    for probe, ((number, edits), (differs, raises)) in enumerate(zip(probes.edits, probes.marks)):
        failed = sum(differs in lines for lines in failing)
        passed = sum(differs in lines for lines in passing if probe not in probes.symptoms)
        useless = not failed or any(raises in lines for lines in passing)
        share = squared_ochiai(failed, passed, len(failing))
        for edit in edits:
            value = min(1.0, max(SUSPICION_FLOOR, share * of_lines[number](edit.start, edit.end)))
            found[number][edit] = USELESS_NATS if useless else SELECTIVITY * math.log(value)
    return list(found)


def _lines(window: Function) -> range:
    return range(window.first_line, window.last_line + 1)
