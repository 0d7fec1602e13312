"""Functions whose guard is gone: an if statement that returns or raises early, taken out where asserts notice.

    python benchmarks/guards.py runs/data/history --out guards.jsonl
    python benchmarks/ablations.py shown everything none-random --cases guards.jsonl

The functions are of the projects that a data folder holds out, with five asserts or more, of which the last is hidden;
near misses that take out other ifs, or leave their bodies, are not among the cases. Each function gives one at most.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from kelp.diffusion.tree_queries import bodies, jumps, plays, removals
from kelp.evaluation.benchmarks import corpus, programs
from kelp.evaluation.case import LANGUAGE, Case
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.syntax.functions import functions

ASSERTS = 5


def without_guard(case: Case) -> Iterator[str]:
    """The program without one of its guards."""
    file = case.source.encode()
    window = next(function for function in functions(file, LANGUAGE) if function.qualname == case.function)
    program = window.program
    for node, edit in removals(program, "statement"):
        if plays(program, node, "if"):
            inside = bodies(program, node)
            if len(inside) == 1 and jumps(program, inside[0]):
                yield window.to_file(edit).apply(file).decode()


def broken(clean: Sequence[Case], seed: int) -> Iterator[Case]:
    rng = random.Random(seed)
    with shared_sandbox() as sandbox:
        for case in clean:
            sources = list(without_guard(case)) if len(case.hidden_tests) >= ASSERTS else []
            with CaseRunner(case, sandbox) as runner:
                if not sources or not runner.passes(case.source):
                    continue
                for source in rng.sample(sources, len(sources)):
                    if not runner.run(source.encode()).ok:
                        yield replace(case, id=f"{case.id}/guard", group="guard", source=source, fixed=case.source)
                        break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a data folder or corpus that holds projects out")
    parser.add_argument("--limit", type=int, default=200, help="cases at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("guards.jsonl"))
    given = parser.parse_args()
    clean, _ = programs(corpus(given.folder))
    order = random.Random(given.seed).sample(clean, len(clean))
    cases = list(islice(broken(order, given.seed), given.limit))
    given.out.write_text("".join(json.dumps(asdict(case)) + "\n" for case in cases))
    print(f"{len(cases)} functions without a guard, of {len(clean)}: {given.out}")
