"""Build a subtree bank from a corpus, with variants of its frequent fragments.

*Equal* variants come from the e-graph, by all rules of `kelp.diffusion.rewriting` together; one is kept only if it
agrees with its fragment on random values in the sandbox. *Near misses* come from the rules that change behavior and are
kept only if they differ. *Renamed* variants have other frequent names, *perturbed* ones another literal. The bank is
a pure function of the sources and the settings, except for variants that run for a second, which are dropped.
"""

import gzip
import itertools
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from kelp.data.examples.equivalence import LIMITS, How, Question, verdicts
from kelp.data.record import LANGUAGE, DataError, json_lines, load, parse_source
from kelp.diffusion.bank import Bank, Fragment, Shelf, Variant, fragment, with_names
from kelp.diffusion.expression_mutations import constant
from kelp.diffusion.rewriting.apply import by_form, rewrites
from kelp.diffusion.rewriting.egraph import Equality
from kelp.diffusion.rewriting.terms import read, write
from kelp.execution import Sandbox
from kelp.languages.python.rewrite_rules import DIFFERENT, EQUAL
from kelp.syntax.program import Program, parse
from kelp.syntax.sites import is_valid

# Program that surrounds a fragment of each category while variants of it are made.
PLACES = {"statement": b"def _():\n    while _:\n        ", "condition": b"def _():\n    assert "}
PLACE = b"def _():\n    _ = "
UNNATURAL = (b"not not", b"--")  # equal, but nobody writes it so
CHUNK = 64  # fragments at a time


@dataclass(frozen=True)
class BankConfig:
    """Settings of a bank."""

    max_per_category: int = 4000  # fragments
    max_leaves: int = 16  # per fragment, in lexical tokens
    max_templates: int = 1000  # templates per category
    augmented: int = 1000  # most frequent fragments per category that get variants
    equal: int = 4  # variants per fragment at most ...
    near_misses: int = 4
    renamed: int = 1
    perturbed: int = 2
    tried: int = 8  # equal terms run per fragment
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if self.max_per_category < self.max_leaves or self.max_leaves < 1:
            raise ValueError(
                f"max_per_category must be at least max_leaves, and that 1, got {self.max_per_category} and "
                f"{self.max_leaves}"
            )


@dataclass(frozen=True)
class Tried:
    """Verdict on one candidate variant: `=` agrees, `!` differs, `?` unknown."""

    variant: Variant
    verdict: str


def sources(path: Path) -> list[str]:
    """Sources of the training functions of a corpus, or of JSON lines with a `source`. Raises DataError."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        return [record.source for record in load(path) if record.split == "train"]
    try:
        return [str(row["source"]) for row in json_lines(path) if row.get("split", "train") == "train"]
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is no file of functions, each a JSON object on a line with its source") from None


def build(
    found: Iterable[str],
    config: BankConfig = BankConfig(),
    *,
    jobs: int = 2,
    allow_weak: bool = True,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[Bank, list[Tried]]:
    """Build the bank of these sources; return it with every candidate variant that was run.

    Raises ModuleNotFoundError if egglog is not installed, and WeakSandbox.
    """
    equality = Equality() if config.augmented else None
    progress("fragments", 0, 1)
    bank = Bank.build(programs(found), config.max_per_category, config.max_leaves, config.max_templates)
    if equality is None:
        return bank, []
    shelves = bank.shelves.items()
    frequent = [(category, f) for category, shelf in shelves for f in most_frequent(category, shelf, config)]
    names = frequent_names(bank)
    chunks = [frequent[at : at + CHUNK] for at in range(0, len(frequent), CHUNK)]
    variants: dict[str, dict[Fragment, tuple[Variant, ...]]] = {category: {} for category in bank.shelves}
    tried: list[Tried] = []
    with ExitStack() as stack:
        sandboxes = [stack.enter_context(Sandbox(limits=LIMITS, allow_weak=allow_weak)) for _ in range(jobs)]
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        running = []
        for number, chunk in enumerate(chunks):
            asked = [candidates(category, f, equality, config) for category, f in chunk]
            running.append(pool.submit(ask, sandboxes[number % jobs], asked))
            progress("variants", number, len(chunks))
        for chunk, answers in zip(chunks, running):
            for (category, f), results in zip(chunk, answers.result()):
                tried += results
                kept = [*chosen(results, config), *syntactic(category, f, names, config)]
                if kept:
                    variants[category][f] = tuple(kept)
    return Bank({c: replace(shelf, variants=variants[c]) for c, shelf in shelves}), tried


def programs(found: Iterable[str]) -> Iterator[Program]:
    """Yield the sources that the grammar parses, as programs."""
    for source in found:
        try:
            program = parse_source(source)
        except SyntaxError:  # compiles, but is beyond the grammar
            continue
        if program.root:
            yield program


def most_frequent(category: str, shelf: Shelf, config: BankConfig) -> list[Fragment]:
    """Fragments that get variants: on one line, with a part that some rule matches."""
    ranked = sorted(zip(shelf.counts, shelf.fragments), key=lambda pair: -pair[0])
    fit = (f for _, f in ranked if b"\n" not in f.text and not f.template and rewritable(category, f))
    return list(itertools.islice(fit, config.augmented))


def rewritable(category: str, origin: Fragment) -> bool:
    found = placed(category, origin.text)
    term = None if found is None else read(*found)
    forms = by_form(EQUAL)
    return term is not None and any(part.form in forms for part in term.walk())


def frequent_names(bank: Bank) -> tuple[list[bytes], list[int]]:
    """Counts of names that stand alone as expressions, without builtins."""
    shelf = bank.shelves.get("expression", Shelf((), ()))
    alone = [(f.text, n) for f, n in zip(shelf.fragments, shelf.counts) if f.size == 1 and f.names]
    pairs = [(text, n) for text, n in alone if LANGUAGE.free_names(text)]
    return [text for text, _ in pairs], [count for _, count in pairs]


def placed(category: str, text: bytes) -> tuple[Program, int] | None:
    """Program with the text at a place of its category, and its node; None if it does not fit."""
    place = PLACES.get(category, PLACE)
    try:
        program = parse(place + text, LANGUAGE)
    except SyntaxError:
        return None
    nodes = (n for n, s in enumerate(program.start) if s == len(place) and program.end[n] == len(place + text))
    node = next((n for n in nodes if program.kind[n] != "block"), None)
    return None if node is None else (program, node)


def remade(category: str, text: bytes, origin: Fragment) -> Fragment | None:
    """Text as a fragment; None if it is not one, or equals its origin."""
    found = placed(category, text)
    if found is None or text == origin.text or not found[0].language.compiles(found[0].source):
        return None
    return fragment(*found, category)


def candidates(
    category: str, origin: Fragment, equality: Equality, config: BankConfig
) -> tuple[Question, list[Variant]]:
    """Candidate equal variants and near misses of a fragment, with the question that decides each."""
    found = placed(category, origin.text)
    variants: dict[Fragment, Variant] = {}
    if found is not None:
        program, node = found
        term = read(program, node)
        if term is not None:
            for derived in equality.variants(term, config.tried):
                text = write(derived.term)
                other = None if text is None else remade(category, text, origin)
                if other is not None and not any(sign in other.text and sign not in origin.text for sign in UNNATURAL):
                    variants.setdefault(other, Variant(other, "equal", derived.rules))
        start = program.start[node]
        for rule, edit in rewrites(program, DIFFERENT):
            if edit.start >= start:
                other = remade(category, edit.apply(program.source)[start:], origin)
                if other is not None:
                    variants.setdefault(other, Variant(other, "near miss", (rule.name,)))
    hows: dict[str, How] = {"statement": "statement", "condition": "truth"}
    texts = tuple(f.text.decode() for f in variants)
    return Question(hows.get(category, "value"), origin.text.decode(), texts), list(variants.values())


def ask(sandbox: Sandbox, asked: list[tuple[Question, list[Variant]]]) -> list[list[Tried]]:
    answers = verdicts(sandbox, [question for question, _ in asked])
    return [[Tried(v, sign) for v, sign in zip(variants, signs)] for (_, variants), signs in zip(asked, answers)]


def chosen(results: list[Tried], config: BankConfig) -> list[Variant]:
    """Variants whose check confirms their label: equal ones that always agreed, near misses that differed."""
    equal = [t.variant for t in results if t.variant.kind == "equal" and t.verdict == "="]
    different = [t.variant for t in results if t.variant.kind == "near miss" and t.verdict == "!"]
    return equal[: config.equal] + different[: config.near_misses]


def syntactic(
    category: str, origin: Fragment, names: tuple[list[bytes], list[int]], config: BankConfig
) -> Iterator[Variant]:
    """Variants of a fragment with other names and with other literals; their behavior is not checked."""
    rng = random.Random(f"{config.seed} {category} {origin.text!r}")
    if origin.names and names[0]:
        for _ in range(config.renamed):
            new = {name: rng.choices(*names)[0] for name in origin.variables}
            other = remade(category, with_names(origin, new.__getitem__), origin)
            if other is not None:
                yield Variant(other, "renamed")
    found = placed(category, origin.text)
    if found is not None:
        program, node = found
        edits = [e for e in constant(program) if e.start >= program.start[node] and is_valid(program, e)]
        for edit in rng.sample(edits, min(config.perturbed, len(edits))):
            other = remade(category, edit.apply(program.source)[program.start[node] :], origin)
            if other is not None:
                yield Variant(other, "perturbed")
