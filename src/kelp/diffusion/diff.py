"""Tree diff: the cheapest path of edits from one program to another, at the sites that decoding uses.

Cost model. An edit costs `EDIT_COST` plus the number of leaves (lexical tokens) that it deletes and inserts; leaves
inserted beyond `LONG` cost more, so that a path has small steps (tree diffusion's small edits). The distance is
Selkow's top-down tree edit distance (S. Selkow, "The tree-to-tree editing problem", Information Processing Letters
6(6), 1977: subtrees are inserted, deleted, or matched and compared inside) with three more operations:
- a subtree may be replaced whole at any site;
- adjacent elements of a list may be exchanged for the cost of one leaf (Lowrance & Wagner, "An extension of the
  string-to-string correction problem", JACM 22(2), 1975);
- a statement at the end of a block may leave or enter the block by a change of its indentation alone.
A single edit that is the whole difference is searched for first, site by site, because one token can change the
shape of the tree (`a + b * c`). Text between the parts of a node (separators, space, comments) must be equal where
both parts are kept; otherwise something larger is replaced, and the whole program only where nothing smaller will do.
So every program reaches every other byte for byte.
"""

from bisect import bisect_left
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from kelp.syntax.edits import Edit, apply_disjoint
from kelp.syntax.program import Program, parse
from kelp.syntax.sites import is_valid, key, site_index, sites, tail

EDIT_COST = 6  # of each edit, in leaves: one more edit must save as many
INDENT_COST = EDIT_COST + 2  # of moving a statement into another block by its indentation
LONG = 32  # inserted leaves per edit beyond which each costs `LONG_COST` more: models seldom get long texts right
LONG_COST = 3
INFINITE = float("inf")
UNDO = {"replace": "replace", "insert": "delete", "delete": "insert"}
Script = tuple[float, tuple[Edit, ...]]  # cost, edits in the source's offsets
IMPOSSIBLE: Script = (INFINITE, ())
_cost = itemgetter(0)


def next_edits(a: Program, b: Program) -> list[Edit]:
    """Every edit that begins a cheapest path from `a` to `b`; none where the sources are equal.

    The edits of a cheapest script do not overlap, so each may come first if its result is valid. Where no result is
    (two parameters exchange names), the answer is one larger edit whose result is valid.
    """
    if a.source == b.source:
        return []
    script = distance(a, b)[1]
    if len(script) == 1:
        return list(script)
    blocked = {e for e, after in pairwise(script) if _in_front(e) and _in_front(after)}
    index = site_index(a)
    first = [e for e in script if key(e) in index and e not in blocked and is_valid(a, e)]
    return first or [_merged(a, b, list(script))]


def _in_front(edit: Edit) -> bool:
    """Return whether the edit inserts before a first element.

    The last of several such edits goes first: each ends in a separator.
    """
    return edit.start == edit.end and bool(edit.text[:1].strip(b" \t\r\n\f\\,;"))


def shortest_path(a: Program, b: Program) -> list[Edit]:
    """A cheapest path, each edit in offsets of the state that it applies to; all states are valid."""
    path = []
    while a.source != b.source:
        edit = next_edits(a, b)[0]
        path.append(edit)
        a = parse(edit.apply(a.source), a.language)
    return path


def distance(a: Program, b: Program) -> Script:
    """The cheapest script: its cost, and disjoint edits, all in offsets of `a`."""
    one = _one_edit(a, b)
    if one[0] <= EDIT_COST + _leaves_apart(a, b):  # no script costs less
        return one
    diff = _Diff(a, b)
    best = min(one, _reindented(diff, *diff.between(a.root, b.root)), key=_cost)
    outside = a.source[: a.start[a.root]] == b.source[: b.start[b.root]]
    outside &= a.source[a.end[a.root] :] == b.source[b.end[b.root] :]
    if best[0] == INFINITE or not outside or apply_disjoint(a.source, list(best[1])) != b.source:
        return edit_cost(a.size(0), b.size(0)), (Edit(0, len(a.source), b.source),)
    return best


def _one_edit(a: Program, b: Program) -> Script:
    """The cheapest single edit from `a` to `b` whose inverse is at a site of `b`."""
    old, new = a.source, b.source
    shortest, growth = min(len(old), len(new)), len(new) - len(old)
    head = _common_prefix(old, new, shortest)
    rear = _common_prefix(old[::-1], new[::-1], shortest)
    undoing, back = site_index(b), sites(b)
    best = IMPOSSIBLE
    for site in sites(a):
        start, end = site.start, site.end + growth
        if start > head or len(old) - site.end > rear or end < start or (start == end) != (site.op == "delete"):
            continue
        text = new[start:end]
        if site.category == "indent":
            cost = INDENT_COST if b"\n" in text and not text.strip() else INFINITE
        elif (i := undoing.get((start, end, UNDO[site.op]))) is not None and back[i].category == site.category:
            cost = edit_cost(_leaves_within(a, start, site.end), _leaves_within(b, start, end))
        else:
            continue
        if cost < best[0]:
            best = cost, (Edit(start, site.end, text),)
    return best


def _reindented(diff: "_Diff", cost: float, script: tuple[Edit, ...]) -> Script:
    """Replace a deletion at the end of a block and an insertion beyond it by a change of indentation, where cheaper."""
    a, b = diff.a, diff.b
    found: list[Edit] = []
    for edit in script:
        before = found[-1] if found else None
        if before is not None and edit.start in (before.start, before.end) and bool(edit.text) != bool(before.text):
            out, into = (before, edit) if edit.text else (edit, before)
            old, new = a.source[out.start : out.end].lstrip(), into.text.lstrip()
            start, end = out.start, out.end - len(old)
            if into.start == into.end and (start, end, "replace") in diff.sites:
                x, y = _node(a, old, end), _node(b, new)
                inner = (0.0, ()) if old == new else diff.between(x, y) if x and y else IMPOSSIBLE
                sizes = (_leaves_within(a, end, out.end), b.size(y) if y else _leaves_within(a, end, out.end))
                saved = edit_cost(sizes[0], 0) + edit_cost(0, sizes[1]) - INDENT_COST - inner[0]
                if saved > 0:
                    found[-1:] = [Edit(start, end, into.text[: len(into.text) - len(new)]), *inner[1]]
                    cost -= saved
                    continue
        found.append(edit)
    return cost, tuple(found)


def _node(program: Program, text: bytes, start: int | None = None) -> int | None:
    """The outermost node with this text (and this start, if given)."""
    places = (n for n in range(1, len(program.kind)) if start is None or program.start[n] == start)
    return next((n for n in places if program.text(n) == text), None)


def _leaves_within(program: Program, start: int, end: int) -> int:
    return bisect_left(program.leaf_starts, end) - bisect_left(program.leaf_starts, start)


def _leaves_apart(a: Program, b: Program) -> int:
    """Number of leaves that only one of the programs has, counted by text."""
    mine, other = a.leaf_texts, b.leaf_texts
    return (mine - other).total() + (other - mine).total()


def edit_cost(old: int, new: int) -> int:
    """Cost of one edit that deletes `old` leaves and inserts `new` ones."""
    return EDIT_COST + old + new + LONG_COST * max(0, new - LONG)


def _joined(one: Script, other: Script) -> Script:
    return one[0] + other[0], (*one[1], *other[1])


def _merged(a: Program, b: Program, script: list[Edit]) -> Edit:
    """The smallest replacement that contains two or more edits of the script and has a valid result."""
    places = [s for s in sites(a) if s.op == "replace"]
    for place in sorted(places, key=lambda s: s.end - s.start):
        inside = [e for e in script if place.start <= e.start and e.end <= place.end]
        if len(inside) < 2 or any(e.start < place.end and e.end > place.start for e in script if e not in inside):
            continue
        shifted = [Edit(e.start - place.start, e.end - place.start, e.text) for e in inside]
        text = apply_disjoint(a.source[place.start : place.end], shifted)
        edit = Edit(place.start, place.end, text)
        if is_valid(a, edit):
            return edit
    return Edit(0, len(a.source), b.source)


class _Diff:
    """One comparison of two programs, with its memo."""

    def __init__(self, a: Program, b: Program) -> None:
        self.a, self.b = a, b
        self.sites = site_index(a)
        self.memo: dict[tuple[int, int], Script] = {}
        self.parts: dict[tuple[int, bool], _Parts] = {}

    def elements(self, node: int, of_b: bool = False) -> "_Parts":
        found = self.parts.get((node, of_b))
        if found is None:
            found = self.parts[node, of_b] = _Parts.of(self.b if of_b else self.a, node)
        return found

    def between(self, x: int, y: int) -> Script:
        """The cheapest script from node x of a to node y of b."""
        a, b = self.a, self.b
        if a.text(x) == b.text(y):
            return 0.0, ()
        nodes = (x, y)
        if nodes not in self.memo:
            self.memo[nodes] = IMPOSSIBLE
            best = self.replaced(x, y)
            if a.kind[x] == b.kind[y] and not (a.is_leaf(x) or b.is_leaf(y)):
                best = min(self.aligned(x, y), best, key=_cost)
            best = min(self.condition_dropped(x, y), self.condition_added(x, y), best, key=_cost)
            self.memo[nodes] = best
        return self.memo[nodes]

    def replaced(self, x: int, y: int) -> Script:
        """The script that replaces x whole by y."""
        span = (self.a.start[x], self.a.end[x])
        if (*span, "replace") not in self.sites or self.b.start[y] == self.b.end[y] or x == self.a.root:
            return IMPOSSIBLE
        return edit_cost(self.a.size(x), self.b.size(y)), (Edit(*span, self.b.text(y)),)

    def condition_dropped(self, x: int, y: int) -> Script:
        """The cheapest script where x is `left and right`: one side is deleted, the other becomes y."""
        a, best = self.a, IMPOSSIBLE
        if (a.kind[x], "left") not in a.language.conditions:
            return best
        left, *_, right = self.elements(x).nodes
        for kept, span in ((left, (a.end[left], a.end[right])), (right, (a.start[left], a.start[right]))):
            if (*span, "delete") in self.sites:
                rest = self.between(kept, y)
                cost = edit_cost(a.size(x) - a.size(kept), 0) + rest[0]
                if cost < best[0]:
                    best = cost, (*rest[1], Edit(*span, b""))
        return best

    def condition_added(self, x: int, y: int) -> Script:
        """The cheapest script where y is `left and right`: x becomes one side, the other is inserted."""
        a, b, best = self.a, self.b, IMPOSSIBLE
        if (b.kind[y], "left") not in b.language.conditions:
            return best
        left, *_, right = self.elements(y, of_b=True).nodes
        after = Edit(a.end[x], a.end[x], b.source[b.end[left] : b.end[y]])
        before = Edit(a.start[x], a.start[x], b.source[b.start[y] : b.start[right]])
        for kept, added in ((left, after), (right, before)):
            if (added.start, added.end, "insert") in self.sites:
                cost, script = self.between(x, kept)
                cost += edit_cost(0, b.size(y) - b.size(kept))
                if cost < best[0]:
                    best = cost, (*script, added) if kept == left else (added, *script)
        return best

    def aligned(self, x: int, y: int) -> Script:
        """Match the parts of two nodes of one kind in order; delete, insert and exchange parts at sites."""
        xs, ys = self.elements(x), self.elements(y, of_b=True)
        if not xs.nodes or not ys.nodes:
            return self.emptied(x, y, xs.nodes, ys.nodes)
        if xs.opening != ys.opening or xs.closing != ys.closing:
            return IMPOSSIBLE
        is_list = self.a.kind[x] in self.a.language.lists
        if not is_list and (matched := self.matched(xs, ys))[0] < INFINITE:  # the usual case: same shape
            return matched
        return _Table(self, xs, ys, is_list).filled()

    def matched(self, xs: "_Parts", ys: "_Parts") -> Script:
        """The script that changes each part into the one at its place."""
        if xs.glue != ys.glue or xs.tails != ys.tails:
            return IMPOSSIBLE
        script: Script = 0.0, ()
        for x, y in zip(xs.nodes, ys.nodes, strict=True):
            script = _joined(script, self.between(x, y))
        return script

    def emptied(self, x: int, y: int, xs: list[int], ys: list[int]) -> Script:
        """The script between a node without parts and one with a single part: `f()` and `f(x)`."""
        a, b = self.a, self.b
        if len(xs) == 1 and not ys:
            edit, cost = Edit(a.start[xs[0]], a.end[xs[0]], b""), edit_cost(a.size(xs[0]), 0)
        elif len(ys) == 1 and not xs:
            space, at = a.source[a.start[x] + 1 : a.end[x] - 1], a.end[x] - 1
            text = b.source[b.start[y] + 1 + len(space) : b.end[y] - 1]
            edit, cost = Edit(at, at, text), edit_cost(0, b.size(ys[0]))
        else:
            return IMPOSSIBLE
        if (edit.start, edit.end, "delete" if xs else "insert") not in self.sites:
            return IMPOSSIBLE
        result = edit.apply(a.source)[a.start[x] : a.end[x] + len(edit.text) - (edit.end - edit.start)]
        return (cost, (edit,)) if result == b.text(y) else IMPOSSIBLE


class _Parts(NamedTuple):
    """Parts of a node, the comment after each on its line (its tail, see `sites.tail`), and the text around them."""

    nodes: list[int]  # children that an edit may replace or change inside
    ends: list[int]  # of the parts with their tails
    glue: list[bytes]  # text before each part, from the end of the part before; of the first: b""
    tails: list[bytes]
    opening: bytes = b""  # text before the first part
    closing: bytes = b""  # text after the last part

    @staticmethod
    def of(program: Program, node: int) -> "_Parts":
        source, start, end = program.source, program.start, program.end
        language, kind, named = program.language, program.kind, program.named
        nodes = [
            child
            for child in program.children(node)
            if kind[child] not in language.comments
            and (
                language.category(kind[child], program.field[child], kind[node], named[child]) is not None
                or (named[child] and not program.is_leaf(child))
            )
        ]
        if not nodes:
            return _Parts([], [], [], [])
        ends = [tail(program, part) for part in nodes]
        glue = [b"", *[source[at : start[part]] for at, part in zip(ends, nodes[1:])]]
        tails = [source[end[part] : at] for part, at in zip(nodes, ends)]
        return _Parts(nodes, ends, glue, tails, source[start[node] : start[nodes[0]]], source[ends[-1] : end[node]])


class _Table:
    """Alignment of the parts of two nodes of one kind, by dynamic programming.

    best[i][j] is the cheapest script that makes the first i parts the first j. Equal parts at both ends are kept, since
    no script is cheaper without; one at each end stays in the table, so that the parts between have neighbors.
    """

    def __init__(self, diff: _Diff, xs: _Parts, ys: _Parts, is_list: bool) -> None:
        self.diff, self.xs, self.ys, self.is_list = diff, xs, ys, is_list
        shortest = min(len(xs.nodes), len(ys.nodes))
        head = rear = 0
        while head < shortest and self.same(head):
            head += 1
        while rear < shortest - head and self.same(-1 - rear):
            rear += 1
        self.head = max(0, head - 1)
        self.rows, self.columns = len(xs.nodes) - max(0, rear - 1), len(ys.nodes) - max(0, rear - 1)
        self.best = [[IMPOSSIBLE] * (self.columns + 1) for _ in range(self.rows + 1)]
        self.best[self.head][self.head] = 0.0, ()

    def same(self, k: int) -> bool:
        """Return whether the parts at index k are equal, with the text before and after."""
        xs, ys = self.xs, self.ys
        around = xs.tails[k] == ys.tails[k] and xs.glue[k] == ys.glue[k]
        return around and self.diff.a.text(xs.nodes[k]) == self.diff.b.text(ys.nodes[k])

    def filled(self) -> Script:
        """Fill the table and return the script for all parts."""
        for i in range(self.head + 1, self.rows + 1):
            for j in range(self.head + 1, self.columns + 1):
                self.best[i][j] = self.entry(i, j)
        return self.best[self.rows][self.columns]

    def entry(self, i: int, j: int) -> Script:
        """The cheapest of up to five scripts, which differ in their last step."""
        best, head = self.best, self.head
        found = [self.begun(i, j)] if self.is_list and not head else [IMPOSSIBLE]
        if best[i - 1][j - 1][0] < INFINITE and self.xs.glue[i - 1] == self.ys.glue[j - 1]:
            found.append(_joined(best[i - 1][j - 1], self.pair(i, j)))
        if best[i - 1][j][0] < INFINITE:
            found.append(_joined(best[i - 1][j], self.dropped(i)))
        if best[i][j - 1][0] < INFINITE:
            found.append(_joined(best[i][j - 1], self.inserted(i, j)))
        if i > head + 1 and j > head + 1 and best[i - 2][j - 2][0] < INFINITE:
            found.append(_joined(best[i - 2][j - 2], self.swapped(i, j)))
        return min(found, key=_cost)

    def begun(self, i: int, j: int) -> Script:
        """Keep the last parts as the first pair; delete the parts before it, and insert others, at the front."""
        a, b, xs, ys = self.diff.a, self.diff.b, self.xs.nodes, self.ys.nodes
        blocked = i > 1 and (a.start[xs[0]], a.start[xs[1]], "delete") not in self.diff.sites
        if blocked or (pair := self.pair(i, j))[0] == INFINITE:
            return IMPOSSIBLE
        at = a.start[xs[i - 1]]
        out = [Edit(a.start[c], a.start[after], b"") for c, after in pairwise(xs[:i])]
        into = [Edit(at, at, b.source[b.start[c] : b.start[after]]) for c, after in pairwise(ys[:j])]
        cost = sum(edit_cost(a.size(c), 0) for c in xs[: i - 1]) + sum(edit_cost(0, b.size(c)) for c in ys[: j - 1])
        return _joined((float(cost), (*out, *into)), pair)

    def pair(self, i: int, j: int) -> Script:
        """The script that makes the last of the first i parts the last of the first j."""
        xs, ys = self.xs, self.ys
        return self.diff.between(xs.nodes[i - 1], ys.nodes[j - 1]) if xs.tails[i - 1] == ys.tails[j - 1] else IMPOSSIBLE

    def dropped(self, i: int) -> Script:
        """The script that deletes the last of the first i parts."""
        span = self.xs.ends[i - 2], self.xs.ends[i - 1]
        if (*span, "delete") not in self.diff.sites:
            return IMPOSSIBLE
        return edit_cost(self.diff.a.size(self.xs.nodes[i - 1]), 0), (Edit(*span, b""),)

    def inserted(self, i: int, j: int) -> Script:
        """The script that inserts the last of the first j parts after the first i."""
        at, b, part = self.xs.ends[i - 1], self.diff.b, self.ys.nodes[j - 1]
        if not (self.is_list or b.kind[part] in b.language.optional) or (at, at, "insert") not in self.diff.sites:
            return IMPOSSIBLE
        return edit_cost(0, b.size(part)), (Edit(at, at, b.source[self.ys.ends[j - 2] : self.ys.ends[j - 1]]),)

    def swapped(self, i: int, j: int) -> Script:
        """The script that exchanges the last two parts of the first i, where that makes the last two of the first j."""
        a, b, xs, ys = self.diff.a, self.diff.b, self.xs, self.ys
        (one, other), (left, right) = xs.nodes[i - 2 : i], ys.nodes[j - 2 : j]
        span = a.start[one], a.end[other]
        if (*span, "replace") not in self.diff.sites or a.text(one) != b.text(right) or a.text(other) != b.text(left):
            return IMPOSSIBLE
        if xs.glue[i - 2 : i] != ys.glue[j - 2 : j] or xs.tails[i - 2 : i] != ys.tails[j - 2 : j]:
            return IMPOSSIBLE
        return EDIT_COST + 1, (Edit(*span, b.source[b.start[left] : b.end[right]]),)


def _common_prefix(a: bytes, b: bytes, longest: int) -> int:
    """Length of the common prefix, at most `longest`; by bisection, since comparing slices is fast."""
    if a[:longest] == b[:longest]:
        return longest
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
