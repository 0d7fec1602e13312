"""Fault localization by function: the functions that the failing tests reach, with the probability of each."""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kelp.execution.observation import Observation
from kelp.languages import registry
from kelp.repair.program import Program
from kelp.search.suspicion import suspicion
from kelp.syntax.functions import Function, functions

SEARCHED = 5  # functions at once, at most
CONSTANTS_SHARE = 0.1  # of the probability, for assignments outside of functions that suspicious lines read
WORD = re.compile(rb"(\.?)\b([A-Za-z_]\w*)")
LINES = 3  # of a function, shown as the most suspicious


def _qualname(function: Function) -> str:
    return function.qualname


def suspects(
    functions: Sequence[Function],
    observation: Observation,
    label: Callable[[Function], str] = _qualname,
    most: int = SEARCHED,
) -> dict[str, float]:
    """Return functions that failing tests reach with the log-probability (nats) of holding the fault, likeliest first.

    The functions with the worst lines are taken; each is as likely as all of its lines together. Where the file itself
    cannot be imported, the only suspect is the function in which the import fails.
    """
    by_line = suspicion(observation)
    suspicious = sorted(by_line)
    lines: dict[str, list[float]] = {}
    for function in functions:  # a name may be defined more than once: a property and its setter
        first, stop = bisect_left(suspicious, function.first_line), bisect_right(suspicious, function.last_line)
        if first < stop:
            lines.setdefault(label(function), []).extend(by_line[line] for line in suspicious[first:stop])
    worst = sorted(lines, key=lambda name: -max(lines[name]))[:most]
    total = sum(sum(lines[name]) for name in worst)
    return {name: math.log(sum(lines[name]) / total) for name in sorted(worst, key=lambda name: -sum(lines[name]))}


def read_constants(source: bytes, constants: Sequence[Function], observation: Observation) -> dict[str, float]:
    """Return assignments outside of functions whose names suspicious lines read, with log-probabilities (nats).

    Likeliest first. One is as suspicious as the worst of these lines; all have `CONSTANTS_SHARE` of the probability.
    """
    lines, found = source.split(b"\n"), dict[str, float]()
    for line, value in suspicion(observation).items():
        words = {word: bool(dot) for dot, word in WORD.findall(lines[line - 1])} if line <= len(lines) else {}
        for constant in constants:
            owner, _, name = constant.qualname.rpartition(".")
            if words.get(name.encode()) == bool(owner):
                found[constant.qualname] = max(value, found.get(constant.qualname, 0.0))
    most = sorted(found, key=lambda name: -found[name])[:SEARCHED]
    total = sum(found[name] for name in most) / CONSTANTS_SHARE
    return {name: math.log(found[name] / total) for name in most}


@dataclass(frozen=True)
class Suspect:
    """A function that may hold the fault, and why."""

    function: str
    file: Path
    first_line: int  # in the file, as the others below
    probability: float  # that the fault is in it, if it is in one of the functions that failing tests reach
    failing: tuple[str, ...]  # failing tests that run it ...
    passing: tuple[str, ...]  # ... and passing ones, of those that reach a suspicious function
    raised: tuple[str, int] | None  # exception of a failing test that a line of it raises, and that line
    lines: tuple[tuple[int, float], ...]  # its most suspicious lines, from 0 to 1


def explained(program: Program, observation: Observation, most: int) -> list[Suspect]:
    """Return the `most` suspicious functions with the reasons, likeliest first."""
    windows = functions(program.source, registry.by_name("python"))
    by_line, failing = suspicion(observation), "fail error timeout".split()
    numbers = {str(number): window for number, window in enumerate(windows)}
    label = {id(window): number for number, window in numbers.items()}
    priors = suspects(windows, observation, lambda window: label[id(window)], len(windows))
    found = []
    for number, log_prob in list(priors.items())[:most]:
        window = numbers[number]
        own = range(window.first_line, window.last_line + 1)
        path, first = program.place(window.first_line)
        tests = [outcome for outcome in observation.outcomes if not outcome.lines.isdisjoint(own)]
        raising = [o for o in observation.outcomes if o.status == "error" and o.line in own]
        worst = sorted((line for line in own if line in by_line), key=lambda line: -by_line[line])[:LINES]
        found.append(
            Suspect(
                function=window.qualname,
                file=path,
                first_line=first,
                probability=math.exp(log_prob),
                failing=tuple(o.name for o in tests if o.status in failing),
                passing=tuple(o.name for o in tests if o.status == "pass"),
                raised=next(((o.exception or "", first + (o.line or 0) - window.first_line) for o in raising), None),
                lines=tuple((first + line - window.first_line, by_line[line]) for line in worst),
            )
        )
    return found
