"""Order of edits by a language model: the change in log-likelihood of the program that each edit makes.

The model is autoregressive and untrained for edits. It reads the program once, after its intent and tests as comments;
an edit is scored by the tokens that it changes and a few after them, over the cache of the tokens before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from kelp.encoding.condition import Condition
from kelp.model.inference import Cache, Transformer
from kelp.model.suffix_tree import SuffixTree
from kelp.search.model_policy import Model
from kelp.search.policy import Bound, Policy, Proposal, Wrapper
from kelp.syntax.program import Program

WINDOW = 6  # tokens after the last changed one that are scored too
LONGEST = 48  # tokens of an edit and its window that are scored
CONTEXT = 300  # tokens of the comments before the program, at most
GROUP = 64  # proposals that are scored together, before the first of them is tried
# Chosen, as the next, by the rank of the right edit in 23 changes of training packages.
WEIGHT = 0.3  # of the change in log-likelihood, beside the log-probability of the policy
TOKEN_NATS = 0.5  # for each token that a program has more: likelihood alone would have it shorter
HEADROOM_NATS = 1.0  # by which an edit may become likelier than the policy's first: others elsewhere go before


class Reading(NamedTuple):
    """A program as the model read it: its tokens with the comments before them, and what scoring needs of it."""

    tokens: list[int]
    start: int  # of the program in `tokens`
    log_probs: np.ndarray  # [tokens - 1]: of each token after the first
    cache: Cache


@dataclass(frozen=True)
class LanguageModel:
    """An autoregressive transformer and its tokenizer, immutable: any number of searches may share one."""

    transformer: Transformer
    tokenizer: Any
    end: int  # the token that a text begins with
    edits: Model | None = None  # whose proposals it reorders; None: all enumerated edits

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def read(self, before: str, program: str) -> Reading:
        """Read a program after a text, of which at most the first `CONTEXT` tokens count."""
        head = [self.end, *self.encode(before)[:CONTEXT]]
        tokens = head + self.encode(program)
        places = np.arange(len(tokens))
        states, cache = self.transformer.read(tokens, places, places <= places[:, None])
        log_probs = self.transformer.log_probs(states[:-1], tokens[1:])
        return Reading(tokens, len(head), log_probs.astype(np.float64), cache)

    def changes(self, reading: Reading, programs: Sequence[str]) -> np.ndarray:
        """Change in log-likelihood (nats) of each program from the one read, plus `TOKEN_NATS` for each further token.

        The changed tokens and a window after them are scored: an edit changes later tokens little.
        """
        old = reading.tokens[reading.start :]
        made = [list(e.ids) for e in self.tokenizer.encode_batch(list(programs), add_special_tokens=False)]
        found = np.zeros(len(made))
        tree, ends = SuffixTree(), list[tuple[int, int]]()
        for number in sorted(range(len(made)), key=made.__getitem__):  # neighbors share beginnings
            new = made[number]
            same, after = _shared(old, new)
            at = reading.start + same  # of the first changed token
            last = min(len(old), len(old) - after + WINDOW)
            tail = [reading.tokens[at - 1], *new[same : min(len(new) - after + WINDOW, same + LONGEST)]]
            longer = len(tail) - 1 - (last - same)
            found[number] = TOKEN_NATS * longer - reading.log_probs[at - 1 : reading.start + last - 1].sum()
            if not tree.fits(len(tail)):
                self._score(reading, tree, ends, found)
                tree, ends = SuffixTree(), []
            ends.append((number, tree.add(tail, [*range(at - 1, at - 1 + len(tail))], [*tail[1:], -1])))
        if ends:
            self._score(reading, tree, ends, found)
        return found

    def _score(self, reading: Reading, tree: SuffixTree, ends: list[tuple[int, int]], found: np.ndarray) -> None:
        visible = np.zeros(len(tree.tokens), np.intp)
        for node, parent in enumerate(tree.parents):  # a path sees what stands before its root
            visible[node] = tree.positions[node] if parent == node else visible[parent]
        scores = self.transformer.path_log_probs(tree, reading.cache, visible=visible)
        for number, node in ends:
            found[number] += float(scores[node])


def _shared(old: list[int], new: list[int]) -> tuple[int, int]:
    """Number of equal tokens at the beginning, and at the end of what is left."""
    most = min(len(old), len(new))
    start = next((i for i in range(most) if old[i] != new[i]), most)
    end = next((i for i in range(most - start) if old[-1 - i] != new[-1 - i]), most - start)
    return start, end


def comments(condition: Condition) -> str:
    """Intent and visible tests as comments, one a line."""
    lines = [line for text in (condition.intent, *condition.asserts) for line in text.splitlines() if line.strip()]
    return "".join(f"# {line}\n" for line in lines)


class Reordered(Wrapper):
    """The proposals of a policy, reordered by a language model.

    The log-probability of a proposal is that of the policy plus `WEIGHT` times the change in log-likelihood. The
    likeliest `group` are scored before the first is tried; the next group, when the search comes to it.
    """

    def __init__(self, policy: Policy, model: LanguageModel, group: int = GROUP) -> None:
        self.policy, self.model, self.group = policy, model, group

    @property
    def threads(self) -> int | None:
        return None

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        yield Bound(0.0)
        given = (each for each in self.policy.propose(program, condition) if isinstance(each, Proposal))
        group = list(islice(given, 1))
        most = min([0.0, *(each.log_prob + HEADROOM_NATS for each in group)])
        reading, rest = None, list[Proposal]()  # scored, and less likely than the group after theirs
        while group := [*group, *islice(given, self.group - len(group))]:
            yield Bound(most)
            reading = reading or self.model.read(comments(condition), program.source.decode())
            changes = self.model.changes(reading, [each.edit.apply(program.source).decode() for each in group])
            scored = [replace(p, log_prob=p.log_prob + WEIGHT * change) for p, change in zip(group, changes)]
            following = group[-1].log_prob
            rest = sorted([*rest, *scored], key=lambda each: -each.log_prob)
            while rest and rest[0].log_prob >= following:
                most = min(most, rest[0].log_prob)
                yield replace(rest.pop(0), log_prob=most)
            most = min(most, max([following, *(each.log_prob for each in rest[:1])]))
            group = []
        yield from (replace(each, log_prob=min(most, each.log_prob)) for each in rest)
