import numpy as np
import pytest

from kelp.model.suffix_tree import NODES, SuffixTree

EDIT, UNTIL, END = 6, 7, 8


def test_suffixes_share_their_beginnings() -> None:
    tree = SuffixTree()
    ends = [
        tree.add([EDIT, UNTIL, 20], [5, 6, 5], [-1, 20, END]),
        tree.add([EDIT, UNTIL, 20, 21], [5, 6, 5, 6], [-1, 20, 21, END]),
        tree.add([EDIT, UNTIL, 20], [9, 10, 9], [-1, 20, END]),  # at another place
    ]
    assert ends == [2, 3, 6]
    tokens, positions, parents, scored, mask = tree.arrays()
    assert tokens.tolist() == [EDIT, UNTIL, 20, 21, EDIT, UNTIL, 20]
    assert positions.tolist() == [5, 6, 5, 6, 9, 10, 9]
    assert parents.tolist() == [0, 0, 1, 2, 4, 4, 5]
    assert np.flatnonzero(scored).tolist() == [2, 3, 6]  # what is given has no probability
    assert [np.flatnonzero(mask[end]).tolist() for end in ends] == [[0, 1, 2], [0, 1, 2, 3], [4, 5, 6]]


def test_a_full_tree_takes_no_more() -> None:
    tree = SuffixTree()
    tree.add(list(range(NODES)), list(range(NODES)), [-1] * NODES)
    assert tree.arrays()[4][-1].all()
    assert not tree.fits(1)


@pytest.mark.parametrize("length", [1, NODES])
def test_a_tree_tells_what_fits(length: int) -> None:
    assert SuffixTree().fits(length)
    assert not SuffixTree().fits(NODES + 1)
