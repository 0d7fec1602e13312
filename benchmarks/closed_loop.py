"""Check that everything composes: true edits through the very code that serves inference restore every program.

    python benchmarks/closed_loop.py --mbpp mbpp.jsonl          # 20,000 broken functions, 2,000 unrelated pairs, MBPP
    python benchmarks/closed_loop.py --pairs 0 --unrelated 0 --all   # sites and edits, over the whole standard library
    python benchmarks/closed_loop.py --tokenizer tokenizer.json      # a pretrained model's; else one is trained here

Functions of up to 200 lines of the standard library are broken by 1 to 5 mutations, or paired with one that has
nothing to do with them; MBPP's test functions (tasks 11 to 510) are broken inside their files. The tree diff gives
the way back; each step is encoded (state, row, tokens), held against the masks, decoded, and applied. Prints how
often each claim held and how many tokens a function has, and exits with 1 where a claim that must always hold did not.
"""

import argparse
import json
import random
import re
import sys
import sysconfig
import tempfile
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from kelp.diffusion.bank import Bank
from kelp.diffusion.diff import edit_cost, next_edits
from kelp.diffusion.forward import ForwardConfig, corrupt
from kelp.encoding.condition import Condition
from kelp.encoding.encoder import Encoder, State
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer, read_tokenizer
from kelp.languages.registry import by_name
from kelp.syntax.edits import Edit
from kelp.syntax.functions import Function, functions
from kelp.syntax.program import Program, parse, parses
from kelp.syntax.sites import Site, is_valid, make_edit, sites

PYTHON = by_name("python")
MAX_LINES = 200
MAX_STEPS = 400  # of a path; never seen
TESTED = range(11, 511)  # MBPP's test tasks


@dataclass
class Score:
    """Counts of how often each claim held, and its first few failures."""

    held: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def claim(self, name: str, holds: bool, of: object = "") -> bool:
        self.tried[name] += 1
        self.held[name] += holds
        if not holds and len(self.failures[name]) < 3:
            self.failures[name].append(str(of))
        return holds

    def add(self, other: "Score") -> None:
        self.held += other.held
        self.tried += other.tried
        self.seen += other.seen
        for name, some in other.failures.items():
            self.failures[name] = (self.failures[name] + some)[:3]


# ---------------------------------------------------------------------------------------------- the closed loop


class Loop:
    """True edits on their way through the encoder, and the claims that must hold there."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.first, self.rest = encoder.allowed()

    def restore(self, start: Program, goal: Program, condition: Condition, score: Score) -> tuple[list[Edit], float]:
        """Walk from `start` to `goal` by decoded edits. Returns the path and its cost."""
        state, cost = start, 0.0
        path: list[Edit] = []
        while state.source != goal.source and len(path) < MAX_STEPS:
            encoded = self.encoder.state(state, condition)
            decoded = [self.through(encoded, edit, score) for edit in next_edits(state, goal)]
            if not decoded or decoded[0] is None:
                break
            edit = decoded[0]
            after = parse(edit.apply(state.source), state.language)
            score.claim("every state compiles", after.language.compiles(after.source), edit)
            cost += cost_of(state, edit, after)
            path.append(edit)
            state = after
        score.claim("the program is restored, byte for byte", state.source == goal.source, start.source.decode())
        if state.source == goal.source:
            score.claim("at the goal the answer is stop", next_edits(state, goal) == [])
        return path, cost

    def through(self, state: State, edit: Edit, score: Score) -> Edit | None:
        """One true edit, encoded and decoded again."""
        try:
            row = state.row_of(edit)
        except KeyError:
            score.claim("every edit is at a legal site", False, (state.program.source.decode(), edit))
            return None
        score.claim("every edit is at a legal site", True)
        text: list[int] = []
        if edit.text:
            text, end = self.encoder.text_tokens(state, row, edit.text), self.encoder.special.end
            kind = state.rows[row][2]
            admitted = bool(self.first[kind, text[0]]) and bool(self.rest[kind, [*text[1:], end]].all())
            score.claim("the masks admit every token", admitted, (state.sites[row - 1], edit))
            tokens, positions, targets = self.encoder.suffix(state, row, text)
            first, last, _ = state.rows[row]
            place = last if first + 1 == last and edit.start == edit.end else first
            consistent = (
                len(tokens) == len(positions) == len(targets) == len(text) + 2
                and tokens[2:] == text and targets[1:] == [*text, end] and targets[0] == -1
                and positions == [place, last + (edit.start < edit.end), *range(place, place + len(text))]
            )  # fmt: skip
            score.claim("the suffix is laid out as the model expects", consistent, (edit, tokens, positions, targets))
        decoded = self.encoder.edit(state, row, text)
        score.claim("decoding gives the edit back", decoded == edit, (edit, decoded))
        return decoded

    def conditioned(self, program: Program, condition: Condition, score: Score) -> None:
        """The condition's tokens precede the program's, within their limits, and change nothing else."""
        encoder, special = self.encoder, self.encoder.special
        bare, full = encoder.state(program), encoder.state(program, condition)
        before = len(full.tokens) - len(bare.tokens)
        moved = [(first + before, last + before, kind) for first, last, kind in bare.rows]
        score.claim("conditioning only moves the program", full.tokens[before:] == bare.tokens and moved == full.rows)
        head = full.tokens[:before]
        limits = encoder.config
        longest = limits.max_intent + limits.max_spec + limits.max_observation + 3
        whole = True
        if special.spec in head:
            end = head.index(special.observation) if special.observation in head else before
            spec = head[head.index(special.spec) + 1 : end]
            lines = encoder.tokenizer.decode(spec).decode().split("\n")[1:]
            asked = [line.removeprefix("assert ") for line in condition.asserts]
            whole = len(spec) <= limits.max_spec and all(line in asked for line in lines)
        score.claim("conditioning keeps to its limits, asserts stay whole", before <= longest and whole, condition)
        source, doc = program.source, program.language.docstring(program)
        ids, starts, ends = encoder.tokenizer.encode_with_spans(source)
        score.seen["bytes tokenized"] += len(source)
        score.seen["tokens"] += len(ids)
        score.claim("tokens keep every byte of the program", encoder.tokenizer.decode(ids) == source, source.decode())
        if doc is not None:
            ids[starts[doc[0]] : ends[doc[1]] + 1] = [special.doc]
        whole_program = [special.program, *ids, special.program_end]
        score.claim("the docstring is one token", full.tokens[before:] == whole_program, source)
        width, height = len(full.tokens), len(self.first)
        placed = all(0 <= first <= last < width and 0 < kind < height for first, last, kind in full.rows)
        score.claim("rows lie within the tokens", placed and full.rows[0][:2] == (before, before), program.source)


def cost_of(before: Program, edit: Edit, after: Program) -> float:
    """Cost of the edit in the diff's cost model."""
    return edit_cost(leaves(before, edit.start, edit.end), leaves(after, edit.start, edit.start + len(edit.text)))


def leaves(program: Program, start: int, end: int) -> int:
    return bisect_left(program.leaf_starts, end) - bisect_left(program.leaf_starts, start)


def some_condition(program: Program, rng: random.Random) -> Condition:
    """A condition as it may occur with the program; no check depends on its text."""
    calls = [f"assert f({rng.randrange(100)}, 'a b') == {[rng.randrange(9)] * rng.randrange(12)}" for _ in range(3)]
    doc = program.language.docstring(program)
    return Condition(
        program.source[doc[0] : doc[1]].decode().strip("'\" \n").split("\n")[0] if doc else "",
        tuple(calls[: rng.randrange(4)]),
        rng.choice(["", "1/3 pass; f(1) gave None, expected 2", "NameError: name 'x' is not defined, line 3"]),
    )


def broken(source: bytes, loop: Loop, bank: Bank, rng: random.Random) -> Score:
    """Break a function by 1 to 5 mutations, where it can be broken, and restore it."""
    score, clean = Score(), parse(source, loop.encoder.language)
    mutations, state = corrupt(clean, rng, rng.randint(1, 5), ForwardConfig(), bank)
    if not mutations:
        return score
    score.seen["pairs"] += 1
    score.seen["mutations"] += len(mutations)
    condition = some_condition(clean, rng)
    loop.conditioned(state, condition, score)
    path, cost = loop.restore(state, clean, condition, score)
    score.seen["steps"] += len(path)
    at, there = clean, 0.0
    for mutation in mutations:  # the cost of undoing them one by one
        after = parse(mutation.edit.apply(at.source), at.language)
        there += cost_of(after, mutation.edit.inverse(at.source), at)
        at = after
    story = (source.decode(), mutations, path)
    if len(mutations) == 1:
        score.claim("one mutation: one edit, no larger", len(path) == 1 and cost <= there, story)
        score.claim("one mutation: costs no more", cost <= there, story)
    else:
        score.claim("several mutations: costs no more", cost <= there, story)
    return score


def unrelated(sources: tuple[bytes, bytes], loop: Loop, rng: random.Random) -> Score:
    """Turn one function into another that has nothing to do with it."""
    score = Score()
    start, goal = (parse(source, loop.encoder.language) for source in sources)
    score.seen["unrelated pairs"] += 1
    path, _ = loop.restore(start, goal, some_condition(goal, rng), score)
    score.seen["unrelated steps"] += len(path)
    return score


def within_file(file: bytes, loop: Loop, bank: Bank, rng: random.Random) -> Score:
    """Break each function of a file where it stands, and restore the file."""
    score = Score()
    for which, function in enumerate(functions(file, PYTHON)):
        if not PYTHON.compiles(function.source):
            continue
        mutations, _ = corrupt(function.program, rng, rng.randint(1, 5), ForwardConfig(), bank)
        if not mutations:
            continue
        score.seen["functions in files"] += 1
        state, condition = file, some_condition(function.program, rng)
        for mutation in mutations:
            state = spliced(state, which, mutation.edit, score)
        for _ in range(MAX_STEPS):
            program = functions(state, PYTHON)[which].program
            edits = next_edits(program, function.program)
            if not edits:
                break
            decoded = [loop.through(loop.encoder.state(program, condition), edit, score) for edit in edits]
            if decoded[0] is None:
                break
            state = spliced(state, which, decoded[0], score)
        score.claim("files: restored, byte for byte", state == file, (file.decode(), function.qualname, mutations))
    return score


def spliced(file: bytes, which: int, edit: Edit, score: Score) -> bytes:
    """The file after an edit of one of its functions."""
    window = functions(file, PYTHON)[which]
    after = window.to_file(edit).apply(file)
    score.claim("files: the window shows the edited program", shows(after, which, edit.apply(window.source)), edit)
    return after


def shows(file: bytes, which: int, source: bytes) -> bool:
    found = functions(file, PYTHON)
    return which < len(found) and found[which].source == source


# ------------------------------------------------------------------------------------------------ sites and edits

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda file: file,
    "CRLF": lambda file: re.sub(rb"\r?\n", b"\r\n", file),
    "tabs": lambda file: re.sub(rb"(?m)^(?:    )+", lambda m: b"\t" * (len(m[0]) // 4), file),
    "BOM": lambda file: b"\xef\xbb\xbf" + file.removeprefix(b"\xef\xbb\xbf"),
}


def syntax(path: Path, edits: int, seed: int) -> Score:
    """Sites of every function of a file, all deletions, and `edits` random legal edits put into the file."""
    score, rng = Score(), random.Random(f"{seed} {path.name}")
    form = rng.choice(list(FORMS)) if edits else "as it is"
    file = FORMS[form](path.read_bytes())
    if not PYTHON.compiles(file):
        return score
    try:
        windows = functions(file, PYTHON)
    except SyntaxError:  # valid Python that tree-sitter's grammar does not know: Kelp refuses such a file
        score.seen["files beyond the grammar"] += 1
        return score
    places: list[tuple[int, Function, Site]] = []
    texts: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for which, function in enumerate(windows):
        if function.last_line - function.first_line >= MAX_LINES or not PYTHON.compiles(function.source):
            continue  # `nonlocal` of an outer function, say
        program = function.program
        score.seen["functions"] += 1
        check_sites(program, score)
        for site in sites(program):
            places.append((which, function, site))
            if site.op != "insert":  # a text for another site of the category
                texts[site.category, site.op].append(program.source[site.start : site.end])
    for which, function, site in rng.sample(places, min(edits, len(places))):
        taken = texts[site.category, "delete" if site.op == "insert" else site.op]
        if not taken:
            continue
        edit = make_edit(function.program, site, b"" if site.op == "delete" else rng.choice(taken))
        score.seen[f"{site.op}s {'legal' if edit else 'refused'}"] += 1
        if edit is not None:
            check_edit(file, which, function, edit, score, f"{path.name} {form}")
    return score


def check_sites(program: Program, score: Score) -> None:
    source, found, at = program.source, sites(program), 0
    bounds = {0}
    for piece in program.language.lexer.findall(source):
        at += len(piece)
        bounds.add(at)
    strings = [n for n in range(len(program.kind)) if "string" in program.kind[n]]
    inside = {i for n in strings for i in range(program.start[n] + 1, program.end[n])}
    score.seen["sites"] += len(found)
    score.claim("one site per (start, end, op)", len({(s.start, s.end, s.op) for s in found}) == len(found))
    score.claim("sites begin and end at pieces", all(s.start in bounds and s.end in bounds for s in found), source)
    score.claim("no site is inside a string", not any(s.start in inside or s.end in inside for s in found), source)
    for site in found:
        if site.op == "delete":
            edit = Edit(site.start, site.end, b"")
            score.claim("every deletion is valid", is_valid(program, edit), (source.decode(), site))


def check_edit(file: bytes, which: int, function: Function, edit: Edit, score: Score, name: str) -> None:
    there = function.to_file(edit)
    after, story = there.apply(file), (name, function.qualname, edit)
    score.claim("an edited file still compiles", parses(after, PYTHON), story)
    kept = after.startswith(file[: there.start]) and after.endswith(file[there.end :])
    kept &= function.start <= there.start and there.end <= function.end
    score.claim("every byte outside the edit is kept", kept, story)
    score.claim("the inverse restores the file", there.inverse(file).apply(after) == file, story)
    inverse = edit.inverse(function.source)
    score.claim("the inverse restores the program", inverse.apply(edit.apply(function.source)) == function.source)
    score.claim("the window shows the edited program", shows(after, which, edit.apply(function.source)), story)


# --------------------------------------------------------------------------------------------------- running it


def library_files() -> list[Path]:
    """The standard library without its packages from elsewhere, in a fixed order."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (p for p in root.rglob("*.py") if not {"site-packages", "lib2to3"} & set(p.relative_to(root).parts))
    return sorted(files)


def library_functions(files: Iterable[Path]) -> Iterator[bytes]:
    """Every function of up to `MAX_LINES` lines that compiles standing alone."""
    for path in files:
        try:
            found = functions(path.read_bytes(), PYTHON)
        except SyntaxError:  # the tests of the library have files that are wrong on purpose
            continue
        for function in found:
            if function.last_line - function.first_line < MAX_LINES and PYTHON.compiles(function.source):
                yield function.source


def mbpp_files(path: Path) -> list[bytes]:
    tasks = [json.loads(line) for line in path.read_text().splitlines()]
    return [task["code"].encode() for task in tasks if task["task_id"] in TESTED]


class Work:
    """The work of a process: jobs by name and number, each a pure function of the seed."""

    def __init__(self, sources: Sequence[bytes], tokenizer: Path, mbpp: list[bytes], files: list[Path], seed: int):
        self.sources, self.mbpp, self.files, self.seed = sources, mbpp, files, seed
        self.loop = Loop(Encoder(read_tokenizer(tokenizer, PYTHON)))
        self.bank = Bank.build(parse(s, PYTHON) for s in sources[::20])

    def __call__(self, job: tuple[str, int]) -> Score:
        kind, number = job
        rng = random.Random(f"{self.seed} {kind} {number}")
        if kind == "pair":
            while not (score := broken(rng.choice(self.sources), self.loop, self.bank, rng)).seen["pairs"]:
                pass  # a few have nothing to break
            return score
        if kind == "unrelated":
            return unrelated((rng.choice(self.sources), rng.choice(self.sources)), self.loop, rng)
        if kind == "mbpp":
            return within_file(self.mbpp[number], self.loop, self.bank, rng)
        return syntax(self.files[number], 30, self.seed)


_work: Work | None = None  # of this process


def _begin(make: Callable[[], Work]) -> None:
    global _work
    _work = make()


def _do(job: tuple[str, int]) -> Score:
    assert _work is not None
    return _work(job)


SHARES = {  # claims that need not always hold, with the smallest share that passes
    "one mutation: one edit, no larger": 0.99,
    "one mutation: costs no more": 0.99,
    "several mutations: costs no more": 0.9,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--unrelated", type=int, default=2_000)
    parser.add_argument("--mbpp", type=Path, help="mbpp.jsonl, as published")
    parser.add_argument("--all", action="store_true", help="check sites and edits over the whole standard library")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json; else one is trained here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()

    began, files = time.monotonic(), library_files()
    sources = list(library_functions(files))
    mbpp = mbpp_files(options.mbpp) if options.mbpp else []
    jobs = [("pair", i) for i in range(options.pairs)] + [("unrelated", i) for i in range(options.unrelated)]
    jobs += [("mbpp", i) for i in range(len(mbpp))]
    jobs += [("syntax", i) for i in range(len(files))] if options.all else []
    print(f"{len(sources)} functions of {len(files)} files, {len(jobs)} jobs", file=sys.stderr)
    total = Score()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = options.tokenizer
        if tokenizer is None:
            tokenizer = Path(folder) / "tokenizer.json"
            ImpliedSpaceTokenizer.train(sources[::5], 4096, PYTHON).save(tokenizer)
        make = partial(Work, sources, tokenizer, mbpp, files, options.seed)
        with Pool(options.jobs, _begin, (make,)) as pool:
            for done, score in enumerate(pool.imap_unordered(_do, jobs, chunksize=8), start=1):
                total.add(score)
                if done % 1000 == 0:
                    print(f"{done} jobs, {time.monotonic() - began:.0f} s", file=sys.stderr)
    sys.exit(report(total))


def report(total: Score) -> int:
    """Print the table. Returns 1 where a claim did not hold as often as it must."""
    wrong = 0
    for name, count in total.seen.items():
        print(f"{count:>9}  {name}")
    print(f"\n{'claim':<55} {'n':>9} {'held':>10} {'least':>8}")
    for name in total.tried:
        tried, held, least = total.tried[name], total.held[name], SHARES.get(name, 1.0)
        fails = held < least * tried
        wrong += fails
        print(f"{name:<55} {tried:>9} {100 * held / tried:>9.3f}% {100 * least:>7.0f}%{'  FAILS' if fails else ''}")
    for name, some in total.failures.items():
        for story in some if name not in SHARES else ():
            print(f"\n{name}: not here\n{story}")
    print(f"\n{'everything held' if not wrong else f'{wrong} claims failed'}")
    return min(wrong, 1)


if __name__ == "__main__":
    main()
