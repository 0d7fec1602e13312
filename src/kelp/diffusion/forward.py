"""The forward process: one small random edit at a time breaks a program, and every state is a valid program."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kelp.diffusion.bank import Bank, Fragment, adapted, fragment, slots
from kelp.diffusion.mutations import KINDS, Mutation
from kelp.diffusion.tree_queries import indentation, names_at, put, replace
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, parse
from kelp.syntax.sites import is_valid

SWAPS = IN_CONTEXT, FROM_BANK = "in-context swap", "bank swap"
DRAWS = 8  # edits of one kind, and mutations of one step, drawn before giving up

WEIGHTS = {name: kind.breaks for name, kind in KINDS.items()} | {IN_CONTEXT: 8.0, FROM_BANK: 8.0}
BY_PEOPLE = {name: kind.mistakes for name, kind in KINDS.items()} | dict.fromkeys(SWAPS, 0.0)


@dataclass(frozen=True)
class ForwardConfig:
    """Weights and limits of the forward process. A kind without a place in the program is drawn again."""

    weights: Mapping[str, float] = field(default_factory=dict)  # by kind; override WEIGHTS
    max_leaves: int = 12  # of a swapped subtree (lexical tokens)
    rename: float = 0.7  # probability that a variable of a bank fragment is renamed to a name in scope
    variants: float = 0.3  # probability that a variant replaces a bank fragment that has variants

    def __post_init__(self) -> None:
        unknown = set(self.weights) - set(WEIGHTS)
        if unknown:
            raise ValueError(f"unknown mutation kinds {sorted(unknown)}; known are {sorted(WEIGHTS)}")
        if not all(math.isfinite(w) and w >= 0 for w in self.weights.values()) or not self.kinds:
            raise ValueError(f"weights must be finite, none negative and one positive, got {dict(self.weights)}")
        if self.max_leaves < 1:
            raise ValueError(f"max_leaves must be at least 1, got {self.max_leaves}")
        if not 0 <= self.rename <= 1:
            raise ValueError(f"rename is a probability, got {self.rename}")
        if not 0 <= self.variants <= 1:
            raise ValueError(f"variants is a probability, got {self.variants}")

    @cached_property
    def kinds(self) -> dict[str, float]:
        """Kinds with a positive weight, and the weights."""
        return {kind: weight for kind, weight in {**WEIGHTS, **self.weights}.items() if weight > 0}


def mutate(program: Program, rng: random.Random, config: ForwardConfig, bank: Bank) -> Mutation | None:
    """Draw one mutation: its kind by weight, then an edit of the kind whose result is valid.

    None where no kind finds one, as in a program that is nearly empty.
    """
    weights = config.kinds
    while weights:
        kind = rng.choices(list(weights), list(weights.values()))[0]
        for edit in draws(program, kind, rng, config, bank):
            if edit is not None and is_valid(program, edit):
                return Mutation(kind, edit)
        # Only another near miss replaces one without a place: swaps fit nearly anywhere and would dominate.
        weights = {k: weight for k, weight in weights.items() if k != kind and (k not in SWAPS or kind in SWAPS)}
    return None


def draws(program: Program, kind: str, rng: random.Random, config: ForwardConfig, bank: Bank) -> Iterator[Edit | None]:
    """A few random edits of one kind, unchecked."""
    if kind == IN_CONTEXT:
        yield from (swap_in_context(program, rng, config) for _ in range(DRAWS))
    elif kind == FROM_BANK:
        yield from (swap_from_bank(program, rng, config, bank) for _ in range(DRAWS))
    else:
        edits = list(KINDS[kind].edits(program))
        yield from rng.sample(edits, min(DRAWS, len(edits)))


def corrupt(
    program: Program, rng: random.Random, steps: int, config: ForwardConfig, bank: Bank
) -> tuple[list[Mutation], Program]:
    """Draw up to `steps` mutations in a row; return them and the last state. States are valid and distinct.

    Fewer mutations are returned where no further one is found.
    """
    seen = {program.source}
    path: list[Mutation] = []
    for _ in range(steps):
        for _ in range(DRAWS):
            mutation = mutate(program, rng, config, bank)
            if mutation is None:
                return path, program
            source = mutation.edit.apply(program.source)
            if source not in seen:
                seen.add(source)
                path.append(mutation)
                program = parse(source, program.language)
                break
        else:
            return path, program
    return path, program


def swap_in_context(program: Program, rng: random.Random, config: ForwardConfig) -> Edit | None:
    """Replace a subtree by another of the program, of the same category and about the same size."""
    places = slots(program, config.max_leaves)
    if not places:
        return None
    category, node = rng.choice(places)
    size, text = program.size(node), program.text(node)
    near = [
        other
        for of, other in places
        if of == category and abs(program.size(other) - size) <= 2 + size // 2 and program.text(other) != text
    ]
    found = fragment(program, rng.choice(near), category) if near else None
    return None if found is None else write(program, node, category, found, found.text)


def swap_from_bank(program: Program, rng: random.Random, config: ForwardConfig, bank: Bank) -> Edit | None:
    """Replace a subtree by a fragment of another program."""
    places = slots(program, config.max_leaves)
    if not places:
        return None
    category, node = rng.choice(places)
    found = bank.sample(category, rng, program.size(node), config.variants)
    if found is None:
        return None
    return write(program, node, category, found, adapted(found, names_at(program, node), rng, config.rename))


def write(program: Program, node: int, category: str, fragment: Fragment, text: bytes) -> Edit | None:
    """The edit that replaces a node by a fragment, indented or in parentheses as the place demands."""
    if category != "statement":
        return put(program, node, text, fragment.strength)
    indent = indentation(program, node)
    if b"\n" in text and indent is None:
        return None
    return replace(program, node, text.replace(b"\n", b"\n" + (indent or b"")))
