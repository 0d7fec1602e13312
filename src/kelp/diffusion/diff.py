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
    """Whether the edit inserts before a first element. The last of several goes first: each ends in a separator."""
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


def _cost(script: Script) -> float:
    return script[0]


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
        self.parts: dict[tuple[int, bool], list[int]] = {}

    def elements(self, node: int, of_b: bool = False) -> list[int]:
        if (node, of_b) not in self.parts:
            self.parts[node, of_b] = _parts(self.b if of_b else self.a, node)
        return self.parts[node, of_b]

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
        left, *_, right = self.elements(x)
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
        left, *_, right = self.elements(y, of_b=True)
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
        a, b = self.a, self.b
        xs, ys = self.elements(x), self.elements(y, of_b=True)
        is_list = a.kind[x] in a.language.lists
        if not xs or not ys:
            return self.emptied(x, y, xs, ys)
        x_ends, y_ends = [tail(a, c) for c in xs], [tail(b, c) for c in ys]
        if a.source[x_ends[-1] : a.end[x]] != b.source[y_ends[-1] : b.end[y]]:
            return IMPOSSIBLE
        if a.source[a.start[x] : a.start[xs[0]]] != b.source[b.start[y] : b.start[ys[0]]]:
            return IMPOSSIBLE
        x_glue = [b""] + [a.source[x_ends[i - 1] : a.start[xs[i]]] for i in range(1, len(xs))]
        y_glue = [b""] + [b.source[y_ends[j - 1] : b.start[ys[j]]] for j in range(1, len(ys))]
        x_rest = [a.source[a.end[c] : end] for c, end in zip(xs, x_ends, strict=True)]
        y_rest = [b.source[b.end[c] : end] for c, end in zip(ys, y_ends, strict=True)]

        def pair(i: int, j: int) -> Script:
            return self.between(xs[i], ys[j]) if x_rest[i] == y_rest[j] else IMPOSSIBLE

        def same(i: int, j: int) -> bool:
            return x_rest[i] == y_rest[j] and a.text(xs[i]) == b.text(ys[j])

        if not is_list and len(xs) == len(ys):  # the usual case: same shape
            total = 0.0
            script: tuple[Edit, ...] = ()
            for i in range(len(xs)):
                if x_glue[i] != y_glue[i]:
                    break
                cost, edits = pair(i, i)
                total, script = total + cost, (*script, *edits)
            else:
                if total < INFINITE:
                    return total, script

        # Equal parts at both ends are kept: no script is cheaper without.
        head = 0
        while head < min(len(xs), len(ys)) and same(head, head) and x_glue[head] == y_glue[head]:
            head += 1
        rear = 0
        while (rear < min(len(xs), len(ys)) - head and same(len(xs) - 1 - rear, len(ys) - 1 - rear)
               and x_glue[len(xs) - 1 - rear] == y_glue[len(ys) - 1 - rear]):  # fmt: skip
            rear += 1
        # One kept part at each end stays in the table, so that the parts between have neighbors.
        head, rear = max(0, head - 1), max(0, rear - 1)
        n, m = len(xs) - rear, len(ys) - rear

        def droppable(i: int) -> tuple[int, int] | None:
            """Span that deletes part i > 0; None where that is no site."""
            span = (x_ends[i - 1], x_ends[i])
            return span if (*span, "delete") in self.sites else None

        # best[i][j]: parts head..i-1 have become head..j-1, with at least one pair kept (or i == j == head).
        best: list[list[Script]] = [[IMPOSSIBLE] * (m + 1) for _ in range(n + 1)]
        # Before the first kept pair (i, j): parts deleted or inserted at the front.
        for i in range(head, n):
            for j in range(head, m):
                front = self.front(xs, ys, i, j) if head == 0 else ((0.0, ()) if i == j == head else IMPOSSIBLE)
                if front[0] == INFINITE:
                    continue
                kept = pair(i, j)
                if front[0] + kept[0] < best[i + 1][j + 1][0]:
                    best[i + 1][j + 1] = front[0] + kept[0], (*front[1], *kept[1])
                if not is_list:
                    break
            if not is_list:
                break
        for i in range(head + 1, n + 1):
            for j in range(head + 1, m + 1):
                options = [best[i][j]]
                if i - 1 > head and j - 1 > head and x_glue[i - 1] == y_glue[j - 1]:
                    before = best[i - 1][j - 1]
                    if before[0] < INFINITE:
                        kept = pair(i - 1, j - 1)
                        options.append((before[0] + kept[0], (*before[1], *kept[1])))
                if i - 1 > head and (span := droppable(i - 1)):
                    before = best[i - 1][j]
                    cost = edit_cost(a.size(xs[i - 1]), 0)
                    options.append((before[0] + cost, (*before[1], Edit(*span, b""))))
                if j - 1 > head:
                    at = x_ends[i - 1]
                    before = best[i][j - 1]
                    optional = is_list or b.kind[ys[j - 1]] in b.language.optional
                    if optional and before[0] < INFINITE and (at, at, "insert") in self.sites:
                        text = b.source[y_ends[j - 2] : y_ends[j - 1]]
                        cost = edit_cost(0, b.size(ys[j - 1]))
                        options.append((before[0] + cost, (*before[1], Edit(at, at, text))))
                swap = self.swapped(xs, ys, x_glue, y_glue, x_rest, y_rest, i, j, head)
                if swap is not None:
                    before = best[i - 2][j - 2] if i - 2 > head or j - 2 > head else (
                        (0.0, ()) if i - 2 == j - 2 == head == 0 else IMPOSSIBLE)  # fmt: skip
                    options.append((before[0] + EDIT_COST + 1, (*before[1], swap)))
                best[i][j] = min(options, key=_cost)
        return best[n][m]

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

    def front(self, xs: list[int], ys: list[int], i: int, j: int) -> Script:
        """Edits before the first kept pair (i, j): delete xs[:i], insert ys[:j]."""
        a, b = self.a, self.b
        cost, script = 0.0, []
        for k in range(i):
            span = (a.start[xs[k]], a.start[xs[k + 1]])
            cost += edit_cost(a.size(xs[k]), 0)
            script.append(Edit(*span, b""))
            if k == 0 and (*span, "delete") not in self.sites:
                return IMPOSSIBLE
        at = a.start[xs[i]]
        for k in range(j):
            cost += edit_cost(0, b.size(ys[k]))
            script.append(Edit(at, at, b.source[b.start[ys[k]] : b.start[ys[k + 1]]]))
        return cost, tuple(script)

    def swapped(
        self, xs: list[int], ys: list[int], x_glue: list[bytes], y_glue: list[bytes],
        x_rest: list[bytes], y_rest: list[bytes], i: int, j: int, head: int,
    ) -> Edit | None:  # fmt: skip
        """The edit that exchanges parts i-2 and i-1, where the result is parts j-2 and j-1 of b."""
        a, b = self.a, self.b
        if i - 2 < head or j - 2 < head:
            return None
        span = (a.start[xs[i - 2]], a.end[xs[i - 1]])
        if (*span, "replace") not in self.sites or a.text(xs[i - 2]) != b.text(ys[j - 1]):
            return None
        if a.text(xs[i - 1]) != b.text(ys[j - 2]) or x_glue[i - 2] != y_glue[j - 2] or x_glue[i - 1] != y_glue[j - 1]:
            return None
        if x_rest[i - 2] != y_rest[j - 2] or x_rest[i - 1] != y_rest[j - 1]:
            return None
        return Edit(*span, b.source[b.start[ys[j - 2]] : b.end[ys[j - 1]]])


def _parts(program: Program, node: int) -> list[int]:
    """Children that an edit may replace or change inside; the text between them is glue."""
    language, kind, named = program.language, program.kind, program.named
    return [
        child
        for child in program.children(node)
        if kind[child] not in language.comments
        and (
            language.category(kind[child], program.field[child], kind[node], named[child]) is not None
            or (named[child] and not program.is_leaf(child))
        )
    ]


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
