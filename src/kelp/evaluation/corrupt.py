"""Inject random bugs into correct programs; keep a mutant only if a visible test fails."""

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import FROM_BANK, SWAPS, WEIGHTS, ForwardConfig, corrupt
from kelp.evaluation.case import LANGUAGE, Case
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.execution.sandbox import Sandbox
from kelp.syntax.functions import functions

DRAWS = 100  # broken programs drawn before a program is given up
NEAR_MISSES = ForwardConfig(weights=dict.fromkeys(SWAPS, 0.0))
SWAP_ALONE = ForwardConfig(weights=dict.fromkeys(WEIGHTS, 0.0) | {FROM_BANK: 1.0})


class Corruption(StrEnum):
    """Way to break a program: this many near misses, a subtree of another program, or a stub."""

    one = "1"
    two = "2"
    three = "3"
    swap = "swap"
    stub = "stub"


def break_all(
    programs: Sequence[Case],
    corruptions: Sequence[Corruption],
    trials: int = 1,
    seed: int = 0,
    bank: Bank = Bank({}),
    advance: Callable[[], object] = lambda: None,
) -> tuple[list[Case], list[str]]:
    """Make `trials` broken versions of every program for each corruption; return them and why others are missing.

    A program that fails its own tests is left out. Swaps need a `bank_of` programs.
    """
    cases, skipped = [], []
    with shared_sandbox() as sandbox:
        good = []
        for program in programs:
            with CaseRunner(replace(program, fixed=program.source), sandbox) as runner:
                passes = runner.passes(program.source)
            if passes:
                good.append(program)
            else:
                skipped.append(f"{program.id}: the correct program fails its own tests")
        for corruption in corruptions:
            for program in good:
                for trial in range(1 if corruption is Corruption.stub else trials):
                    case = break_one(program, corruption, trial, seed, sandbox, bank)
                    if case is None:
                        drawn = 1 if corruption is Corruption.stub else DRAWS
                        fault = f"no way to break it ({corruption}), of {drawn} drawn, fails a visible test"
                        skipped.append(f"{program.id}: {fault}")
                    else:
                        cases.append(case)
                    advance()
    return cases, skipped


def bank_of(programs: Sequence[Case]) -> Bank:
    """Build the bank of the subtrees of all functions of the programs."""
    return Bank.build(f.program for program in programs for f in functions(program.source.encode(), LANGUAGE))


def break_one(
    program: Case, corruption: Corruption, trial: int, seed: int, sandbox: Sandbox, bank: Bank = Bank({})
) -> Case | None:
    """Make a broken version that fails a visible test; None where `DRAWS` of them pass all visible tests.

    A pure function of the program, the name of the case and the seed.
    """
    name = f"{program.id}/{corruption}/{trial}"
    with CaseRunner(program, sandbox) as runner:
        for rejected, source in enumerate(_draws(program, corruption, random.Random(f"{seed} {name}"), bank)):
            if not runner.run(source.encode()).ok:
                fixed = program.source
                return replace(program, id=name, group=str(corruption), source=source, fixed=fixed, rejected=rejected)
    return None


def _draws(program: Case, corruption: Corruption, rng: random.Random, bank: Bank) -> Iterator[str]:
    if corruption is Corruption.stub:
        yield stub(program.source, program.function)
        return
    config, steps = (SWAP_ALONE, 1) if corruption is Corruption.swap else (NEAR_MISSES, int(corruption))
    file = program.source.encode()
    windows = functions(file, LANGUAGE)
    places = [i for i, window in enumerate(windows) if program.function in ("", window.qualname)]
    for _ in range(DRAWS):
        at = places[0] if len(places) == 1 else rng.choice(places)
        path, broken = corrupt(windows[at].program, rng, steps, config, bank)
        if len(path) < steps:
            continue
        source = file
        for mutation in path:
            source = functions(source, LANGUAGE)[at].to_file(mutation.edit).apply(source)
        if functions(source, LANGUAGE)[at].source == broken.source:
            yield source.decode()


def stub(source: str, function: str = "") -> str:
    """Return the program with a docstring and `pass` for the body of a function: of its last one, if none is named."""
    window = next(f for f in reversed(functions(source.encode(), LANGUAGE)) if function in ("", f.qualname))
    text = window.source.decode()
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    lines = text.split("\n")
    if not body or body[0].lineno == node.lineno or window.margin:  # on one line with the header, or in a class
        return source
    kept = [*lines[: body[0].lineno - 1], " " * body[0].col_offset + "pass"]
    file = source.encode()
    return (file[: window.start] + "\n".join(kept).encode() + file[window.end :]).decode()


def only_bugs(cases: Sequence[Case], advance: Callable[[], object] = lambda: None) -> tuple[list[Case], list[str]]:
    """Return the cases that fail a visible test while the correct program, if known, fails none; and others' faults."""
    bugs, skipped = [], []
    with shared_sandbox() as sandbox:
        for case in cases:
            with CaseRunner(case, sandbox) as runner:
                if runner.run(case.source.encode()).ok:
                    skipped.append(f"{case.id}: passes its visible tests")
                elif case.fixed is not None and not runner.passes(case.fixed):
                    skipped.append(f"{case.id}: the correct program fails its own tests")
                else:
                    bugs.append(case)
            advance()
    return bugs, skipped
