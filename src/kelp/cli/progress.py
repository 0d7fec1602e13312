"""A bar on stderr, in a terminal only."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Call what this gives with (what is being done, how many are done, how many there are)."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = [*Progress.get_default_columns(), MofNCompleteColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def counter(progress: Progress, what: str, total: int | None = None) -> Callable[[], None]:
    """Call what this gives whenever one more is done."""
    done = itertools.count(1)
    progress(what, 0, total)
    return lambda: progress(what, next(done), total)
