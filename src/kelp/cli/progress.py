"""Progress on stderr, in a terminal only: a bar for work in countable steps, a line for other work."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yield a function of (things counted, number done, number in all or None); each kind has its own time left."""
    if not sys.stderr.isatty():
        yield lambda things, done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = [*Progress.get_default_columns(), MofNCompleteColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, shown = bar.add_task("", total=None), ""

        def show(things: str, done: int, total: int | None) -> None:
            nonlocal shown
            if things != shown:  # the time left is estimated from the speed since here
                bar.reset(task, description=things, total=total)
                shown = things
            bar.update(task, completed=done, total=total)

        yield show


def counter(progress: Progress, things: str, total: int | None = None) -> Callable[[], None]:
    """Return a function to call whenever one more is done."""
    done = itertools.count(1)
    progress(things, 0, total)
    return lambda: progress(things, next(done), total)


@contextmanager
def status_line(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line, and yield a function that replaces it."""
    if not sys.stderr.isatty():
        yield lambda line: None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as status:
        yield status.update
