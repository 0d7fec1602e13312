"""Localization: the place of the right site among all, by what the suspicion of lines and edits uses.

    python benchmarks/localization.py FOLDER cases.jsonl      # as `kelp eval cases` takes them

Two runs of the visible tests of each case, one with probes; nothing is searched. Single edits of all kinds are ordered
by the prior of their kind, the suspicion and the probability of their function, as `none-frequency` does, equal ones as
they come. A case counts where a right first edit is at one of the first five sites.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kelp.diffusion.mutations import candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.evaluation.case import LANGUAGE, Case
from kelp.evaluation.case_files import read_cases, read_folder
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.evaluation.metrics import estimate
from kelp.evaluation.run_cases import first_edits
from kelp.execution.observation import Observation
from kelp.search.effects import SELECTIVITY, USELESS_NATS, effects, instrumented
from kelp.search.suspicion import crash_factors, edit_weights, may_matter, spread, suspicion
from kelp.syntax.edits import Edit
from kelp.syntax.functions import Function, functions
from kelp.syntax.sites import key

SITES = 5
RUNS = 63  # of single edits, after that of the program as it is
Lines = Mapping[int, float]


def alike(seen: Observation) -> Lines:
    return dict.fromkeys(seen.lines_failing, 1.0)


def without_traceback(seen: Observation) -> Lines:
    factors = crash_factors(seen)
    return {line: value / factors[line] for line, value in suspicion(seen).items()}


ORDERS: dict[str, tuple[Callable[[Observation], Lines], float | None]] = {
    "lines of failing tests, all alike": (alike, None),
    "and in how many tests (Ochiai)": (without_traceback, None),
    "and the line that raises": (suspicion, None),
    "and the effects of edits": (suspicion, SELECTIVITY),
    "effects, power 1": (suspicion, 1.0),
    "effects, useless edits alone": (suspicion, 0.0),
}


def ranked(
    windows: list[Function],
    by_line: Lines,
    exception: str | None,
    known: list[Mapping[Edit, float]],
    power: float | None,
) -> list[tuple[int, Edit]]:
    """(function, edit) of all kinds, likeliest first."""
    of_function = [sum(by_line.get(line, 0.0) for line in range(w.first_line, w.last_line + 1)) for w in windows]
    scores = list[tuple[float, int, Edit]]()
    for number, window in enumerate(windows):
        if not of_function[number]:
            continue
        lines = [by_line.get(line) for line in range(window.first_line, window.last_line + 1)]
        header = next((i for i, value in enumerate(lines) if value is not None), 0)
        lines[:header] = [lines[header]] * header
        scaled = {
            edit: nats if nats == USELESS_NATS else nats / SELECTIVITY * power
            for edit, nats in known[number].items() if power is not None
        }  # fmt: skip
        condition = Condition(suspicion=tuple(value or 0.0 for value in lines), effects=scaled)
        kinds = candidates(window.program, may_matter(window.program, condition.suspicion))
        priors, weight = (
            log_priors(window.program, kinds, exception, spread(condition)),
            edit_weights(window.program, condition),
        )
        found = {edit: prior + weight(edit) for edit, prior in priors.items()}
        rest = math.log(of_function[number] / sum(of_function)) - float(np.logaddexp.reduce([*found.values()]))
        scores += [(nats + rest, number, edit) for edit, nats in found.items()]
    return [(number, edit) for _, number, edit in sorted(scores, key=lambda each: -each[0])]


def measure(case: Case, runner: CaseRunner) -> dict[str, tuple[bool, float]] | None:
    """For each order: whether a right site is among five, and the share of useless edits among the first."""
    truth = first_edits(case)
    source = case.source.encode()
    windows = functions(source, LANGUAGE)
    first = runner.run(source, trace=True)
    probes = instrumented(source, windows, [[*candidates(window.program)] for window in windows])
    found = effects(first, runner.run(probes.source, trace=True), probes, windows) if probes else None
    if truth is None or found is None or first.first_failure is None:
        return None
    right = {key(edit) for edit in truth[1]}
    told = dict[str, tuple[bool, float]]()
    for name, (lines_of, power) in ORDERS.items():
        order = ranked(windows, lines_of(first), first.first_failure.exception, found, power)
        sites = list(dict.fromkeys((number, key(edit)) for number, edit in order))[:SITES]
        hit = any(windows[number].source == truth[0] and at in right for number, at in sites)
        useless = [found[number].get(edit) == USELESS_NATS for number, edit in order[:RUNS]]
        told[name] = hit, sum(useless) / max(1, len(useless))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="+")
    for path in parser.parse_args().cases:
        told, every = list[dict[str, tuple[bool, float]]](), (read_folder if path.is_dir() else read_cases)(path)[0]
        with shared_sandbox() as sandbox:
            for case in every:
                with CaseRunner(case, sandbox) as runner:
                    told += [each] if (each := measure(case, runner)) else []
        print(f"{path.name}: {len(told)} of {len(every)} cases")
        for name in ORDERS:
            hits, useless = ([each[name][i] for each in told] for i in range(2))
            print(f"  {name:34} right site among five {estimate(hits)}  useless among {RUNS}: {np.mean(useless):.0%}")


if __name__ == "__main__":
    main()
