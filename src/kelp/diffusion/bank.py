"""The subtree bank: real fragments of code by category and size, to be put where others of their kind stood."""

import gzip
import json
import random
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path

from kelp.diffusion.shapes import editable, indentation, is_callee, is_use, plays
from kelp.syntax.program import Program

CATEGORIES = frozenset({"expression", "argument", "element", "condition", "statement"})


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of code of `size` leaves that binds with `strength`; `names` are the byte spans of its variables."""

    text: bytes
    size: int
    strength: int
    names: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Shelf:
    """The fragments of one category in order of size, and how often each was seen."""

    fragments: tuple[Fragment, ...]
    counts: tuple[int, ...]

    @cached_property
    def sizes(self) -> list[int]:
        return [fragment.size for fragment in self.fragments]

    @cached_property
    def totals(self) -> list[int]:
        return list(accumulate(self.counts, initial=0))


@dataclass(frozen=True)
class Bank:
    shelves: Mapping[str, Shelf]

    @classmethod
    def build(cls, programs: Iterable[Program], max_per_category: int = 4000, max_leaves: int = 16) -> "Bank":
        """Count the fragments of the programs; of each category and size keep the most frequent, first seen first."""
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
            kept = [
                pair
                for size in range(1, max_leaves + 1)
                for pair in seen[category, size].most_common(max_per_category // max_leaves)
            ]
            if kept:
                shelves[category] = Shelf(tuple(f for f, _ in kept), tuple(n for _, n in kept))
        return cls(shelves)

    def sample(self, category: str, rng: random.Random, like: int) -> Fragment | None:
        """A fragment of about `like` leaves, the frequent ones more often; None where the category has none."""
        shelf = self.shelves.get(category)
        if shelf is None:
            return None
        wanted = bisect_left(shelf.sizes, like + rng.choice((-2, -1, -1, 0, 0, 0, 1, 1, 2)))
        size = shelf.sizes[min(wanted, len(shelf.sizes) - 1)]  # the next size that there is
        low, high = bisect_left(shelf.sizes, size), bisect_left(shelf.sizes, size + 1)
        drawn = rng.randrange(shelf.totals[low], shelf.totals[high])
        return shelf.fragments[bisect_left(shelf.totals, drawn + 1) - 1]

    def save(self, path: Path) -> None:
        """Write the bank as JSON, compressed and the same for the same bank."""
        data = {
            category: [
                [f.text.decode(), f.size, f.strength, [list(span) for span in f.names], count]
                for f, count in zip(shelf.fragments, shelf.counts)
            ]
            for category, shelf in self.shelves.items()
        }
        path.write_bytes(gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0))

    @classmethod
    def load(cls, path: Path) -> "Bank":
        data = json.loads(gzip.decompress(path.read_bytes()))
        shelves = {}
        for category, rows in data.items():
            fragments = tuple(
                Fragment(text.encode(), size, strength, tuple((a, b) for a, b in names))
                for text, size, strength, names, _ in rows
            )
            shelves[category] = Shelf(fragments, tuple(row[-1] for row in rows))
        return cls(shelves)


@lru_cache(maxsize=16)
def slots(program: Program, max_leaves: int) -> list[tuple[str, int]]:
    """The nodes that a fragment may replace, with its category; conditions are told from other expressions."""
    language, kind, field, parent = program.language, program.kind, program.field, program.parent
    role = language.near_miss.roles
    special = role["special argument"] | role["slice"]
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
    """The subtree as a fragment that can stand elsewhere; None where its line ends tie it to its place."""
    text = program.text(node)
    if b"\n" in text:
        indent = indentation(program, node)
        plain = b'"""' not in text and b"'''" not in text and b"\\\n" not in text
        if category != "statement" or not plain or indent is None:
            return None
        text = text.replace(b"\n" + indent, b"\n")
    names: list[tuple[int, int]] = []
    if b"\n" not in text:
        at = program.start[node]
        for name in range(node, program.last[node]):
            if plays(program, name, "name") and is_use(program, name) and not is_callee(program, name):
                names.append((program.start[name] - at, program.end[name] - at))
    return Fragment(text, program.size(node), program.language.near_miss.strength(program, node), tuple(names))


def adapted(found: Fragment, names: list[bytes], rng: random.Random, probability: float) -> bytes:
    """The fragment's text with each of its variables renamed, with this probability, to one of the names."""
    if not names or not found.names:
        return found.text
    renamed: dict[bytes, bytes] = {}
    pieces, at = [], 0
    for start, end in found.names:
        name = found.text[start:end]
        if name not in renamed:
            known = name in names or rng.random() >= probability
            renamed[name] = name if known else rng.choice(names)
        pieces += [found.text[at:start], renamed[name]]
        at = end
    return b"".join([*pieces, found.text[at:]])
