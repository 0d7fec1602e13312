"""Relatives of functions that have tests: other programs in the same style, with tests of their own.

A model trained on a few functions learns them by heart, and takes any program for a broken one of them. So a
function is changed by a few random edits, given new names, and taken as a *clean* program of its own where every
part of it matters to what it returns: it runs, its values differ, and tests can be found that nearly all of its near
misses fail. What such a program should do is known from its tests alone.
"""

import dataclasses
import multiprocessing
import random
from collections.abc import Sequence
from functools import lru_cache
from keyword import iskeyword

from kelp.data import inputs
from kelp.data.decontaminate import Excluded, fingerprint
from kelp.data.record import Record
from kelp.data.specs import LIMITS, tests_of
from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import FROM_BANK, IN_CONTEXT, ForwardConfig, corrupt
from kelp.diffusion.mutations import near_misses
from kelp.diffusion.shapes import bindings
from kelp.execution.sandbox import Sandbox
from kelp.syntax.program import Program, parse

VARIANT = "#variant"  # ends their origin
STEPS = (1, 2, 3, 4, 6)  # edits from a function to its variant
CALLS = 18  # tried for one variant ...
WORKING = 0.8  # ... and the share of them that must return
PARTS = ("missing statement", "missing guard", "missing return")  # kinds of near miss that all must fail
PROBES = 10  # others that the tests are tried on ...
KILLED = 0.8  # ... and the share of them that must fail
TRIES = 8  # programs looked at for one variant
RENAMED = 0.5  # probability that a variable takes another name
EDITS = ForwardConfig(weights={IN_CONTEXT: 30.0, FROM_BANK: 60.0})  # mostly parts of each other
PIECE = 50  # variants that one process makes at a time


def variants(records: Sequence[Record], count: int, excluded: Excluded, seed: int = 0, jobs: int = 2) -> list[Record]:
    """Variants of the records that have asserts, from `count` attempts; no two alike, none a copy of what is excluded.

    A function of records, count and seed, whatever `jobs` is.
    """
    tested = [r for r in records if r.asserts]
    if not tested:
        return []
    pieces = [(tested, seed, range(at, min(count, at + PIECE))) for at in range(0, count, PIECE)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        found = [record for piece in pool.imap(_make, pieces) for record in piece]
    seen = {fingerprint(r.source).form for r in records}
    kept = []
    for record in found:
        print_ = fingerprint(record.source)
        if print_.form not in seen and excluded.match(print_) is None:
            seen.add(print_.form)
            kept.append(record)
    return kept


def _make(piece: tuple[Sequence[Record], int, range]) -> list[Record]:
    records, seed, numbers = piece
    bank = Bank.build(map(_parse, records))
    with Sandbox(limits=LIMITS, allow_weak=True) as sandbox:
        made = [variant(records, bank, sandbox, random.Random(f"variant {seed} {n}")) for n in numbers]
    return [record for record in made if record is not None]


def variant(records: Sequence[Record], bank: Bank, sandbox: Sandbox, rng: random.Random) -> Record | None:
    """One variant of one of the records, or None where no program tried was worth keeping."""
    origin = rng.choices(records, [_parse(r).size(0) for r in records])[0]  # the larger, the more ways to vary it
    for _ in range(TRIES):
        _, program = corrupt(_parse(origin), rng, rng.choice(STEPS), EDITS, bank)
        if not all(program.leaf_texts[name] > 1 for name in _variables(program)):
            continue
        name, source = renamed(program, origin, records, rng)
        record = Record(source, name, context=origin.context, origin=origin.origin + VARIANT, licence=origin.licence)
        calls = [f"{name}({given})" for given in inputs.arguments_like(origin.asserts, origin.name, rng, CALLS)]
        answers = sandbox.evaluate(source.encode(), calls, origin.context or "")
        if sum(a.repr is not None for a in answers) < WORKING * len(calls):
            continue
        asserts = tests_of(record, answers, sandbox, rng)
        if asserts and every_part_matters(record, asserts, sandbox, rng):
            return dataclasses.replace(record, asserts=asserts)
    return None


def every_part_matters(record: Record, asserts: Sequence[str], sandbox: Sandbox, rng: random.Random) -> bool:
    """Do the tests fail without any one of its statements, and for most of the other near misses?"""
    program = _parse(record)

    def survives(source: bytes) -> bool:
        return sandbox.run(source, asserts=asserts, setup=record.context or "").ok

    misses = near_misses(program)
    if any(survives(m.edit.apply(program.source)) for m in misses if m.kind in PARTS):
        return False
    others = [m for m in misses if m.kind not in PARTS]
    others = rng.sample(others, min(PROBES, len(others)))
    survivors = sum(survives(m.edit.apply(program.source)) for m in others)
    return bool(others) and survivors <= (1 - KILLED) * len(others)


def renamed(program: Program, origin: Record, records: Sequence[Record], rng: random.Random) -> tuple[str, str]:
    """The function's new name, and its source under it and with some of its variables renamed."""
    some = rng.sample(records, min(len(records), 20))
    words = [word for r in some for word in r.name.split("_") if word.isidentifier() and not iskeyword(word)]
    name = "_".join(rng.sample(words, min(len(words), rng.choice((1, 2))))) or "f"
    own = _variables(program)
    others = [n for r in some for n in _variables(_parse(r)) if n not in own]
    changes = {origin.name.encode(): name.encode()}
    for old in own:
        if others and rng.random() < RENAMED:
            changes[old] = rng.choice(others)
            others = [n for n in others if n != changes[old]]
    pieces, at = list[bytes](), 0
    for node, kind in enumerate(program.kind):
        keyword = program.kind[program.parent[node]] == "keyword_argument" and program.field[node] == "name"
        new = changes.get(program.text(node)) if kind == "identifier" else None
        if new is not None and program.field[node] != "attribute" and not keyword:
            pieces += [program.source[at : program.start[node]], new]
            at = program.end[node]
    return name, b"".join([*pieces, program.source[at:]]).decode() + "\n"


def _variables(program: Program) -> list[bytes]:
    return list(dict.fromkeys(b.name for b in bindings(program)))


@lru_cache(maxsize=4096)
def _parse(record: Record) -> Program:
    return parse(record.source.rstrip("\n").encode())
