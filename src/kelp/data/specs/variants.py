"""Relatives of functions that have tests: other programs in the same style, with tests of their own.

A model trained on a few functions learns them by heart, and takes any program for a broken one of them. So a
function is changed by a few random edits and by statements of the others, may get other names, and is taken as a
*clean* program of its own where every part of it matters to what it returns: it runs, its values differ, and tests can
be found that nearly all of its near misses fail. What such a program should do is known from its tests alone.
"""

import dataclasses
import multiprocessing
import random
import re
from collections.abc import Sequence
from functools import lru_cache
from keyword import iskeyword

from kelp.data.corpus.decontaminate import Excluded, fingerprint
from kelp.data.record import Record, parse_source
from kelp.data.specs import inputs
from kelp.data.specs.specs import choose, repeatable, telling
from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import FROM_BANK, IN_CONTEXT, ForwardConfig, corrupt
from kelp.diffusion.mutations import is_valid, near_misses
from kelp.diffusion.shapes import bindings, indentation, names_at, plays, statements
from kelp.execution import CallResult, Limits, Sandbox
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, parse
from kelp.syntax.sites import tail

LIMITS = Limits(seconds=0.7, memory_mb=512)  # of one run
VARIANT = "#variant"  # ends their origin
STEPS = (1, 2, 3, 4, 6, 8)  # changes from a function to its variant ...
GRAFT = 0.4  # ... and the share of them that put a statement of another function in
CALLS = 14  # tried for one variant ...
WORKING = 0.8  # ... and the share of them that must return
PARTS = ("missing statement", "missing guard", "missing return")  # kinds of near miss that all must fail
PROBES = 12  # others that the tests are tried on ...
KILLED = 0.8  # ... and the share of them that must fail
LEAVES = 36  # the least size of a variant, in lexical tokens, is drawn from 0 to this
TRIES = 40  # programs looked at for one variant
RENAMED = 0.5  # probability that names change, and then that any one does
PIECE = 50  # variants that one process makes at a time

# Parts of each other, and no mistakes that leave something nobody would write.
EDITS = ForwardConfig(
    weights={IN_CONTEXT: 15.0, FROM_BANK: 50.0, "negation": 0.5, "sign": 0.5, "slice": 0.5, "offset": 1.0}
    | {"missing statement": 1.0, "missing guard": 1.0, "missing return": 0.0, "return value": 0.5, "indent": 2.0}
)


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
    free_names = _parse(origin).language.free_names
    known, least = free_names(origin.source.encode()), rng.randint(0, LEAVES)
    for _ in range(TRIES):
        program = changed(_parse(origin), records, bank, rng)
        if program.size(program.root) < least or not all(program.leaf_texts[name] > 1 for name in _variables(program)):
            continue
        if not free_names(program.source) <= known:
            continue
        name, source = renamed(program, origin, records, rng)
        record = dataclasses.replace(
            origin, source=source, name=name, intent="", asserts=(), origin=origin.origin + VARIANT, mutation_score=None
        )
        calls = [f"{name}({given})" for given in inputs.arguments_like(origin.asserts, origin.name, rng, CALLS)]
        answers = sandbox.evaluate(source.encode(), calls, origin.context or "")
        if sum(a.repr is not None for a in answers) < WORKING * len(calls):
            continue
        asserts = asserts_of_every_part(record, answers, sandbox, rng)
        if asserts:
            return dataclasses.replace(record, asserts=asserts)
    return None


def changed(program: Program, records: Sequence[Record], bank: Bank, rng: random.Random) -> Program:
    """The program after a few changes."""
    for _ in range(rng.choice(STEPS)):
        if rng.random() < GRAFT:
            edit = graft(program, _parse(rng.choice(records)), rng)
            if is_valid(program, edit):
                program = parse(edit.apply(program.source), program.language)
        else:
            _, program = corrupt(program, rng, 1, EDITS, bank)
    return program


def graft(program: Program, donor: Program, rng: random.Random) -> Edit:
    """Puts a statement of the donor before or behind one of the program's, reading and binding names of that place."""
    given = rng.choice([s for block in statements(donor) for s in block])
    place = rng.choice([s for block in statements(program) for s in block])
    own, there = _variables(donor), names_at(program, place)
    changes = {
        name: name if not there or (name in there and rng.random() < 0.7) else rng.choice([*there, name])
        for name in own
    }
    text = with_names(donor, given, changes)
    indent = indentation(program, place) or b""
    text = text.replace(b"\n" + (indentation(donor, given) or b""), b"\n" + indent)
    if rng.random() < 0.5:
        return Edit(program.start[place], program.start[place], text + b"\n" + indent)
    end = tail(program, place)
    return Edit(end, end, b"\n" + indent + text)


def asserts_of_every_part(
    record: Record, answers: Sequence[CallResult], sandbox: Sandbox, rng: random.Random
) -> tuple[str, ...]:
    """Tests that fail without any one of its statements and for most other near misses; () where there are none.

    The near misses run side by side in one process, each under a name of its own.
    """
    results, program = telling(answers), _parse(record)
    misses = near_misses(program)
    parts = [m for m in misses if m.kind in PARTS]
    others = [m for m in misses if m.kind not in PARTS]
    others = rng.sample(others, min(PROBES, len(others)))
    if not results or not others:
        return ()
    own_name = re.compile(rf"\b{record.name}\b")
    sources, calls = [], []
    for i, miss in enumerate([*parts, *others]):
        name = f"{record.name}_{i}"
        sources.append(own_name.sub(name, miss.edit.apply(program.source).decode()))
        calls += [own_name.sub(name, r.call) for r in results]
    broken = sandbox.evaluate("\n\n".join(sources).encode(), calls, record.context or "")
    if any(answer.exception in ("NotRun", "NotLoaded") for answer in broken):
        return ()
    killers = [
        frozenset(i for i, result in enumerate(results) if broken[at + i].repr != result.repr)
        for at in range(0, len(broken), len(results))
    ]
    chosen = choose(results, killers)
    killed = [not killer.isdisjoint(chosen) for killer in killers]
    if not all(killed[: len(parts)]) or sum(killed[len(parts) :]) < KILLED * len(others):
        return ()
    return repeatable(record, [results[i] for i in chosen], sandbox)


def renamed(program: Program, origin: Record, records: Sequence[Record], rng: random.Random) -> tuple[str, str]:
    """The function's new name, and its source under it and, every other time, with some of its variables renamed."""
    some = rng.sample(records, min(len(records), 20))
    words = [word for r in some for word in r.name.split("_") if word.isidentifier() and not iskeyword(word)]
    name = "_".join(rng.sample(words, min(len(words), rng.choice((1, 2))))) or "f"
    own = _variables(program)
    others = [n for r in some for n in _variables(_parse(r)) if n not in own]
    changes = {origin.name.encode(): name.encode()}
    if rng.random() < RENAMED:
        for old in own:
            if others and rng.random() < RENAMED:
                changes[old] = rng.choice(others)
                others = [n for n in others if n != changes[old]]
    return name, with_names(program, program.root, changes).decode() + "\n"


def with_names(program: Program, node: int, changes: dict[bytes, bytes]) -> bytes:
    """The text of a node with some of its identifiers changed; attributes and keywords keep their names."""
    pieces, at = list[bytes](), program.start[node]
    for inner in range(node, program.last[node]):
        above = program.parent[inner]
        keyword = program.kind[above] == "keyword_argument" and program.field[inner] == "name"
        new = changes.get(program.text(inner)) if plays(program, inner, "name") else None
        if new is not None and program.field[inner] != "attribute" and not keyword:
            pieces += [program.source[at : program.start[inner]], new]
            at = program.end[inner]
    return b"".join([*pieces, program.source[at : program.end[node]]])


def _variables(program: Program) -> list[bytes]:
    return list(dict.fromkeys(b.name for b in bindings(program)))


@lru_cache(maxsize=4096)
def _parse(record: Record) -> Program:
    return parse_source(record.source)
