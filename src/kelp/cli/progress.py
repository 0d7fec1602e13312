"""Progress on stderr, in a terminal only: a bar for work that counts, a line for work that does not."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a function to call with (the work, how much is done, how much there is)."""
    if not sys.stderr.isatty():
        yield lambda work, done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = [*Progress.get_default_columns(), MofNCompleteColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda work, done, total: bar.update(task, description=work, completed=done, total=total)


def counter(progress: Progress, work: str, total: int | None = None) -> Callable[[], None]:
    """Return a function to call whenever one more is done."""
    done = itertools.count(1)
    progress(work, 0, total)
    return lambda: progress(work, next(done), total)


@contextmanager
def status_line(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line, and give a function that replaces it."""
    if not sys.stderr.isatty():
        yield lambda line: None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as status:
        yield status.update
