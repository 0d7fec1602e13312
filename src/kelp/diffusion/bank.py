"""The subtree bank: fragments of real code by category and size, to replace subtrees of the same category.

A fragment is drawn in proportion to how often it was seen. It may have *variants*, made by
`kelp.data.examples.bank_variants`: a variant, each as likely as the others, replaces a drawn fragment with a
probability of the caller's choice (`ForwardConfig.variants`). A fragment that is too rare to be kept by its text may
be kept by its shape, as a *template*: `start - 1` and `width - 1` may occur once each, their shape a thousand times.
"""

import gzip
import json
import random
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from kelp.diffusion.tree_queries import editable, indentation, is_callee, is_use, kinds, plays
from kelp.syntax.program import Program

CATEGORIES = frozenset({"expression", "argument", "element", "condition", "statement"})


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of code of `size` leaves; `strength` as in `NearMiss`, `names` the byte spans of its variables."""

    text: bytes
    size: int
    strength: int
    names: tuple[tuple[int, int], ...] = ()
    template: bool = False  # a shape: its variables are placeholders for any names

    @property
    def variables(self) -> list[bytes]:
        return list(dict.fromkeys(self.text[start:end] for start, end in self.names))

    @property
    def shape(self) -> bytes:
        """The text with a number for each variable, in order of first use."""
        numbers = {name: b"$%d" % number for number, name in enumerate(self.variables, start=1)}
        return with_names(self, numbers.__getitem__)


Kind = Literal["equal", "near miss", "renamed", "perturbed"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A fragment made from another one.

    By rewrite rules that preserve its value or by one that does not, by other names, or by other literals.
    """

    fragment: Fragment
    kind: Kind
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shelf:
    """Fragments of one category in order of size, with the number of times each occurs, and their variants."""

    fragments: tuple[Fragment, ...]
    counts: tuple[int, ...]
    variants: Mapping[Fragment, tuple[Variant, ...]] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> list[int]:
        return [fragment.size for fragment in self.fragments]

    @cached_property
    def totals(self) -> list[int]:
        return list(accumulate(self.counts, initial=0))


@dataclass(frozen=True)
class Bank:
    """Fragments and their variants by category."""

    shelves: Mapping[str, Shelf]

    @classmethod
    def build(
        cls, programs: Iterable[Program], max_per_category: int = 4000, max_leaves: int = 16, max_templates: int = 0
    ) -> "Bank":
        """Count the fragments of the programs and keep the most frequent of each category and size.

        Among the others, up to `max_templates` of the most frequent shapes per category are kept as templates. Among
        equal counts the first seen comes first.
        """
        if max_per_category < max_leaves or max_leaves < 1:
            raise ValueError(f"need max_per_category >= max_leaves >= 1, got {max_per_category} and {max_leaves}")
        seen: dict[tuple[str, int], Counter[Fragment]] = defaultdict(Counter)
        for program in programs:
            for category, node in slots(program, max_leaves):
                found = fragment(program, node, category)
                if found is not None:
                    seen[category, found.size][found] += 1
        shelves = {}
        for category in sorted(CATEGORIES):
            kept = []
            for size in range(1, max_leaves + 1):
                ranked = seen[category, size].most_common()
                most = max_per_category // max_leaves
                kept += ranked[:most] + templates(ranked[most:], max_templates // max_leaves)
            if kept:
                shelves[category] = Shelf(tuple(f for f, _ in kept), tuple(n for _, n in kept))
        return cls(shelves)

    def sample(self, category: str, rng: random.Random, like: int, variants: float = 0.0) -> Fragment | None:
        """Draw a fragment of about `like` leaves by frequency; None where the category has none.

        With probability `variants` a variant replaces a fragment that has some.
        """
        shelf = self.shelves.get(category)
        if shelf is None:
            return None
        wanted = bisect_left(shelf.sizes, like + rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2)))
        size = shelf.sizes[min(wanted, len(shelf.sizes) - 1)]  # the next size with fragments
        low, high = bisect_left(shelf.sizes, size), bisect_left(shelf.sizes, size + 1)
        drawn = rng.randrange(shelf.totals[low], shelf.totals[high])
        found = shelf.fragments[bisect_left(shelf.totals, drawn + 1) - 1]
        others = shelf.variants.get(found)
        if others and rng.random() < variants:
            return rng.choice(others).fragment
        return found

    def dumps(self) -> bytes:
        """The bank as compressed JSON; equal banks give equal bytes."""
        data = {
            category: [
                [*_row(f), count, f.template, [[*_row(v.fragment), v.kind, v.rules] for v in shelf.variants.get(f, ())]]
                for f, count in zip(shelf.fragments, shelf.counts)
            ]
            for category, shelf in self.shelves.items()
        }
        return gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0)

    def save(self, path: Path) -> None:
        path.write_bytes(self.dumps())

    @classmethod
    def load(cls, path: Path) -> "Bank":
        """Read a bank. Raises ValueError where the file is none."""
        try:
            data = json.loads(gzip.decompress(path.read_bytes()))
            return cls({category: _shelf(rows) for category, rows in data.items()})
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, TypeError, AttributeError, IndexError):
            raise ValueError(f"{path} is no bank") from None


def _row(f: Fragment) -> list[Any]:
    return [f.text.decode(), f.size, f.strength, [list(span) for span in f.names]]


def _shelf(rows: list[Any]) -> Shelf:
    fragments, counts, variants = [], [], {}
    for *row, count, template, others in rows:
        found = replace(_fragment(*row), template=template)
        fragments.append(found)
        counts.append(int(count))
        if others:
            variants[found] = tuple(Variant(_fragment(*row), kind, tuple(rules)) for *row, kind, rules in others)
    return Shelf(tuple(fragments), tuple(counts), variants)


def _fragment(text: str, size: int, strength: int, names: list[list[int]]) -> Fragment:
    return Fragment(text.encode(), size, strength, tuple((a, b) for a, b in names))


def templates(rare: Sequence[tuple[Fragment, int]], most: int) -> list[tuple[Fragment, int]]:
    """The most frequent shapes shared by several fragments, each with the text of its most frequent fragment."""
    counts: Counter[bytes] = Counter()
    first: dict[bytes, Fragment] = {}
    shared: set[bytes] = set()
    for found, count in rare if most else ():
        if found.names:
            shape = found.shape
            counts[shape] += count
            if shape in first:
                shared.add(shape)
            first.setdefault(shape, found)
    ranked = [(shape, count) for shape, count in counts.most_common() if shape in shared]
    return [(replace(first[shape], template=True), count) for shape, count in ranked[:most]]


@lru_cache(maxsize=16)
def slots(program: Program, max_leaves: int) -> list[tuple[str, int]]:
    """(category, node) of the nodes that a fragment may replace; conditions are a category apart from expressions."""
    language, kind, field, parent = program.language, program.kind, program.field, program.parent
    special = kinds(program, "special argument") | kinds(program, "slice")
    found = []
    for of_kind, some in editable(program).items():
        if of_kind in special or of_kind == "operator":
            continue
        for node in some:
            if node == program.root or not program.named[node] or program.size(node) > max_leaves:
                continue
            above = kind[parent[node]]
            category = language.category(of_kind, field[node], above, True)
            if (above, field[node]) in language.conditions:
                category = "condition"
            if category in CATEGORIES and not is_callee(program, node) and field[node] != "object":
                assert category is not None
                found.append((category, node))
    return found


def fragment(program: Program, node: int, category: str) -> Fragment | None:
    """The subtree as a fragment; None where its lines cannot be indented for another place."""
    text = program.text(node)
    if b"\n" in text:
        indent = indentation(program, node)
        fixed = program.language.near_miss.fixed.search(text)
        if category != "statement" or fixed or indent is None:
            return None
        text = text.replace(b"\n" + indent, b"\n")
    names: list[tuple[int, int]] = []
    if b"\n" not in text:
        at = program.start[node]
        for name in range(node, program.last[node]):
            if plays(program, name, "name") and is_use(program, name) and not is_callee(program, name):
                names.append((program.start[name] - at, program.end[name] - at))
    return Fragment(text, program.size(node), program.language.near_miss.strength(program, node), tuple(names))


def adapted(fragment: Fragment, names: list[bytes], rng: random.Random, probability: float) -> bytes:
    """The fragment's text with each variable renamed, with this probability, to one of `names`.

    Variables of a template are always renamed.
    """
    if not names or not fragment.names:
        return fragment.text
    renamed: dict[bytes, bytes] = {}

    def new(name: bytes) -> bytes:
        if name not in renamed:
            known = name in names or (not fragment.template and rng.random() >= probability)
            renamed[name] = name if known else rng.choice(names)
        return renamed[name]

    return with_names(fragment, new)


def with_names(fragment: Fragment, new: Callable[[bytes], bytes]) -> bytes:
    """The fragment's text with `new(name)` for each variable."""
    pieces, at = [], 0
    for start, end in fragment.names:
        pieces += [fragment.text[at:start], new(fragment.text[start:end])]
        at = end
    return b"".join([*pieces, fragment.text[at:]])
