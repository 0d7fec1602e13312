"""Smaller vocabulary of a byte-level BPE: the tokens that a corpus uses, with which every text is still spelled.

Kept are the used tokens, the tokens that their merges pass through, all added tokens, and a token for each of the 256
bytes, made where the vocabulary has none. Where each token is the product of one merge, a text that the old tokenizer
spells with kept tokens alone is spelled the same.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kelp.encoding.byte_level import SPELL
from kelp.errors import KelpError


@dataclass(frozen=True)
class Pruned:
    """A tokenizer.json with fewer tokens, and where each comes from."""

    source: str
    kept: list[int]  # old id of each token; -1: a byte that had none
    used: int
    passed: int  # tokens that only the merges of used ones pass through

    @property
    def new_bytes(self) -> int:
        """Number of bytes that the old vocabulary could not spell."""
        return self.kept.count(-1)


def prune(source: str, used: Iterable[int]) -> Pruned:
    """The tokenizer.json `source` with the used tokens. Raises KelpError where it is no byte-level BPE."""
    content: dict[str, Any] = json.loads(source)
    model = content["model"]
    if model.get("type", "BPE") != "BPE" or '"ByteLevel"' not in json.dumps(content.get("pre_tokenizer")):
        raise KelpError("the vocabulary of a byte-level BPE alone can be cut, and this tokenizer is another")
    old: dict[str, int] = model["vocab"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    parts: dict[str, list[tuple[str, str]]] = {}
    for pair in merges:
        parts.setdefault("".join(pair), []).append(pair)
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    strings = {token: string for string, token in old.items()}
    counted = {strings[token] for token in used if token in strings}
    kept, queue = set(counted), list(counted)
    while queue:
        for pair in parts.get(queue.pop(), ()):
            queue += set(pair) - kept
            kept |= set(pair)
    passed = len(kept - counted)
    in_order = sorted((old[string], string) for string in (kept | set(SPELL) | added.keys()) & old.keys())
    in_order += sorted((token, string) for string, token in added.items() if string not in old)
    in_order += [(-1, character) for character in SPELL if character not in old]
    new = {string: token for token, (_, string) in enumerate(in_order)}
    model["vocab"] = {string: token for string, token in new.items() if string in old or string not in added}
    model["merges"] = [list(pair) for pair in merges if {*pair, "".join(pair)} <= new.keys()]
    for token in content["added_tokens"]:
        token["id"] = new[token["content"]]
    content["added_tokens"].sort(key=lambda token: token["id"])
    _renumber(content.get("post_processor"), new)
    return Pruned(json.dumps(content, ensure_ascii=False), [token for token, _ in in_order], len(counted), passed)


def _renumber(part: Any, new: dict[str, int]) -> None:
    """Set the ids of the special tokens that a template names."""
    if isinstance(part, dict):
        if isinstance(part.get("tokens"), list) and "ids" in part:
            part["ids"] = [new[string] for string in part["tokens"]]
        for value in part.values():
            _renumber(value, new)
    elif isinstance(part, list):
        for value in part:
            _renumber(value, new)
