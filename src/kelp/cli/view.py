"""`kelp view`: serve a page that shows repairs, on this machine alone."""

import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.errors import KelpError, reason
from kelp.extras import require

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.cli.target import Target
    from kelp.repair import Project


def view(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TRACE.html|FOLDER|TARGET",
            help="A trace that kelp repair --trace has written, a folder of them, or a project, file or test to "
            "repair, as in kelp repair. Without it: a page to try a function.",
        ),
    ] = None,
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    python: options.Python = None,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds of each search, at most (default: 60).")
    ] = None,
    max_runs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Test runs of each search, at most (default: 256).")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME_OR_FOLDER", help="Model to use, as in kelp repair.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port of the page; 0: any free one.")] = 0,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Serve a page that steps through saved repairs, shows a running one, and tries functions.

    Prints the page's address, which is secret, and serves it on this machine alone until Ctrl-C. Changes no file.

    \b
    Examples:
      kelp view how.html
      kelp view traces/ --open
      kelp view mine.py --tests test_mine.py
      kelp view .
      kelp view
    """
    require("view", "kelp view")
    from kelp.cli.repair import chosen
    from kelp.cli.target import read_target
    from kelp.repair import Session, models
    from kelp.repair import Tests as GivenTests
    from kelp.repair.settings import Settings
    from kelp.web.server import Shown, serve

    asked = None if target is None else read_target(target)
    saved = asked is not None and holds_traces(asked)
    program: Path | Project | None = None
    given, functions, settings = options.given_tests(tests, asserts, doctest, test_command), list[str](), Settings()
    if asked is None or saved:
        if given is not None:
            raise KelpError("Tests go with a Python file", "name one, as in kelp view mine.py --tests test_mine.py")
        interpreter = options.python(Path("program.py").absolute(), python)
    else:
        with options.in_options():
            program, given, functions, settings, interpreter = chosen(
                asked, tests, asserts, doctest, test_command, None, python
            )
    budget = options.budget(
        runs=max_runs or settings.max_runs,
        seconds=settings.max_seconds if max_seconds is None else max_seconds,
        edits=settings.max_edits,
        patches=None,
    )

    def session(text: "Path | str | Project", tests: GivenTests | None, model: Any) -> Session:
        names = functions if text is program else []
        return Session(
            text, tests, budget, model=model, functions=names, python=interpreter, allow_weak=allow_weak_sandbox
        )

    with options.in_options():
        weights = models.find(model or settings.model or "default")
        if program is not None:
            session(program, given, "none")  # raises KelpError for bad input before the page is served
        elif saved and asked is not None and asked.path.is_file():
            read_trace_of(asked.path)
    options.say_python(interpreter)

    def ready(address: str) -> None:
        print(address, flush=True)
        if open:  # by a file that redirects: other users can read the address on a command line
            file = Path(folder, "open.html")
            file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">')
            webbrowser.open(file.as_uri())

    traces = asked.path if saved and asked is not None else None
    shown = Shown(
        session=session,
        model=weights,
        folder=traces if traces is not None and traces.is_dir() else None,
        trace=traces if traces is not None and traces.is_file() else None,
        program=program,
        tests=given,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="kelp-view-") as folder:
            serve(shown, port, ready)
    except OSError as error:
        raise KelpError(f"Port {port} cannot be used: {reason(error)}") from None
    except KeyboardInterrupt:
        pass


def holds_traces(asked: "Target") -> bool:
    """Return whether a target is a page, or a folder with pages that is no project's own."""
    from kelp.cli.target import is_project, root_of

    if not asked.path.is_dir():
        return asked.path.suffix == ".html"
    if is_project(asked.path):
        return False
    return any(asked.path.glob("*.html")) or not is_project(root_of(asked))


def read_trace_of(path: Path) -> None:
    """Raise KelpError, which names the file, if it is no trace."""
    from kelp.files import read
    from kelp.web.trace import read_trace

    try:
        read_trace(read(path))
    except KelpError as error:
        raise KelpError(f"{path}: {error.message}") from None
