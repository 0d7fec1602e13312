"""Progress on stderr, in a terminal only: a bar for work in countable steps, a line for other work; messages; color."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kelp.errors import KelpError, printable

Progress = Callable[[str, int, int | None], None]
QUIET, NORMAL, VERBOSE = -1, 0, 1
COLORS = {"+": 32, "-": 31, "@": 36}  # of the lines of a diff
level = NORMAL  # of the command that runs


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
    if not sys.stderr.isatty() or level < NORMAL:
        yield lambda line: None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as status:
        yield status.update


def set_level(quiet: bool, verbose: bool) -> None:
    """Set how much `say` says: with `quiet` only errors, with `verbose` details too. Raises KelpError."""
    global level
    if quiet and verbose:
        raise KelpError("--quiet and --verbose exclude one another: give one of them")
    level = QUIET if quiet else VERBOSE if verbose else NORMAL


def say(sentence: str, at: int = NORMAL) -> None:
    """Print a message to stderr, unless the level is below `at`; errors are said at level QUIET."""
    if level >= at:
        with suppress(OSError):  # whoever reads stderr may have closed it
            print(printable(sentence), file=sys.stderr, flush=True)


def in_color(diff: str) -> str:
    """The diff with colors, if stdout takes them: a terminal, unless NO_COLOR or FORCE_COLOR says otherwise."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if os.environ.get("NO_COLOR") or not (terminal or os.environ.get("FORCE_COLOR")):
        return diff
    lines = diff.split("\n")
    return "\n".join(f"\x1b[{COLORS[line[0]]}m{line}\x1b[0m" if line[:1] in COLORS else line for line in lines)
