"""Strategies: best-first, beam and best-of-N. They differ only in the order in which they run and expand nodes."""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Generator, Iterator

from kelp.execution.observation import Observation
from kelp.search.node import Node, SearchResult
from kelp.search.policy import Bound
from kelp.search.search import INTERRUPTED, Search, Stop


def best_first(search: Search, start: Node) -> Iterator[Node]:
    """Execution-guided best-first: run, or expand, the node of highest rank. Yields the nodes that were run.

    A node that was run comes back into the queue to be expanded, at the rank that its tests gave it; no child
    can rank higher before it is run itself, so this is uniform-cost search over -rank. A child waits in the
    queue with those after it, which are no likelier; so does a bound of theirs, until it is the highest, and unlikely
    children are never made. Among equal ranks, a node not yet run goes first. (Value-guided synthesis may yield a
    higher rank than all before it: it takes a run, which waits for the one that goes on.)

    While tests run, the policy works: at the siblings after the child that is run, and at whatever ranks higher than
    every node not yet run. The order of the runs is that of doing one thing after the other.
    """
    numbers = itertools.count()
    queue: list[tuple[float, int, int, Node | Bound, Node, Iterator[Node | Bound]]] = []

    def push(found: Node | Bound | None, parent: Node, after: Iterator[Node | Bound], number: int) -> None:
        if found is not None:
            # Among equal ranks, bounds go first, so that their children are made in time, and in order.
            ran = not isinstance(found, Bound) and found.observation is not None
            turn = 2 if ran else 0 if isinstance(found, Bound) and not found.runs else 1
            heapq.heappush(queue, (-search.child_priority(parent, found.priority), turn, number, found, parent, after))

    push(start, start, iter(()), next(numbers))
    while queue or search.running:
        if search.running and (not queue or queue[0][1] == 1):
            tested = search.end()
            yield tested
            if not tested.solved:
                push(tested, tested, iter(()), next(numbers))
                for child in search.joined(tested):
                    push(child, child.parent or start, iter(()), next(numbers))
            continue
        *_, number, found, parent, after = heapq.heappop(queue)
        if isinstance(found, Node):
            number = next(numbers)
            if found.observation is None:
                search.begin(found)
            else:
                parent, after = found, search.unfold(found)
        push(next(after, None), parent, after, number)


def beam(search: Search, start: Node, width: int = 8, children: int = 16) -> Iterator[Node]:
    """Beam search: of each state's likeliest children, keep the best `width` of the level after running them."""
    level = [start]
    while level:
        tested = []
        for child in (child for node in level for child in itertools.islice(search.step(node), children)):
            if (node := search.test(child)) is not None:
                yield node
                tested += [] if node.solved else [node]
        level = sorted(tested, key=search.rank, reverse=True)[:width]


def best_of_n(search: Search, start: Node) -> Iterator[Node]:
    """Best of N walks from the start, each step drawn from the policy's own distribution. N is the budget of runs.

    A state that was run is not run again but walked through.
    """
    rng = random.Random(search.seed)
    children: dict[int, list[Node]] = {}  # of every node walked through, without those that lead nowhere new
    while children.get(start.id) != []:
        node = start
        while options := children[node.id] if node.id in children else list(search.step(node)):
            children[node.id] = options
            weights = [math.exp(max(-50.0, option.priority - node.log_prob)) for option in options]
            at = rng.choices(range(len(options)), weights)[0]
            chosen: Node | None = options[at]
            if options[at].observation is None and (chosen := search.test(options[at])) is not None:
                yield chosen
            if chosen is None or chosen.solved or children.get(chosen.id) == []:
                del options[at]
            else:
                options[at] = node = chosen
        children[node.id] = []


STRATEGIES: dict[str, Callable[[Search, Node], Iterator[Node]]] = {
    "best-first": best_first, "beam": beam, "best-of-n": best_of_n,
}  # fmt: skip


def explore(
    search: Search, strategy: str = "best-first", observation: Observation | None = None
) -> Generator[Node, None, SearchResult]:
    """Search until a budget binds, enough patches are found or nothing is left: yield each node run, return the result.

    `observation` is that of the unchanged file, if its tests have run. Never raises for the end of a budget.
    """
    try:
        start = search.start(observation)
        yield start
        search.check_found()
        for node in STRATEGIES[strategy](search, start):
            yield node
            search.check_found()
        stopped = "nothing left to try"
    except Stop as stop:
        stopped = str(stop)
    if search.running is not None and stopped != INTERRUPTED:  # the run that was going on when time was up
        try:
            yield search.end()
        except Stop as stop:
            stopped = str(stop)
    return search.result(stopped)


def run(search: Search, strategy: str = "best-first", observation: Observation | None = None) -> SearchResult:
    """Search to the end and return the result."""
    exploring = explore(search, strategy, observation)
    while True:
        try:
            next(exploring)
        except StopIteration as end:
            result: SearchResult = end.value
            return result
