"""Suffixes of many edits of one program as a tree, since they share beginnings: one pass scores all of them.

All edits at a site begin with the same `<edit> <until>`, many go on with the same tokens, and most are one to
three tokens long. Padded to one length each they cost four times as many tokens as the tree has nodes.
"""

from dataclasses import dataclass, field

import numpy as np

NODES = 256  # in a tree, at most: edits far down the order may never be scored


@dataclass
class SuffixTree:
    """Tokens in which every suffix is a path from a root; a node attends to itself and to those above it."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # a root is its own
    scored: list[bool] = field(default_factory=list)  # whether the token is a target; `<edit>` and `<until>` are not
    _nodes: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def fits(self, length: int) -> bool:
        return len(self.tokens) + length <= NODES

    def add(self, tokens: list[int], positions: list[int], targets: list[int]) -> int:
        """Put a suffix into the tree; returns its last node. `targets[i]` is the token after `tokens[i]`, or -1."""
        node = -1
        for i, (token, position) in enumerate(zip(tokens, positions)):
            key = node, token, position
            if key not in self._nodes:
                self._nodes[key] = len(self.tokens)
                self.parents.append(node if node >= 0 else len(self.tokens))
                self.tokens.append(token)
                self.positions.append(position)
                self.scored.append(i > 0 and targets[i - 1] >= 0)
            node = self._nodes[key]
        return node

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """tokens, positions, parents int [Q], scored bool [Q], mask bool [Q, Q] (query, visible node) of Q nodes."""
        mask = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            mask[node] |= mask[parent]
        tokens, positions, parents = (np.asarray(x, np.intp) for x in (self.tokens, self.positions, self.parents))
        return tokens, positions, parents, np.asarray(self.scored, bool), mask
