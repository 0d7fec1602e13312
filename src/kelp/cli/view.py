"""`kelp view`: serve a page that shows repairs, on this machine alone."""

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli import options
from kelp.errors import KelpError, reason
from kelp.extras import require


def view(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="TRACE.html|FOLDER|FILE.py",
            help="A trace that kelp repair --trace has written, a folder of them, or a Python file to repair. Without "
            "it: a page to try a function.",
        ),
    ] = None,
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    python: options.Python = None,
    max_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Seconds of each search, at most.")] = 60.0,
    max_runs: Annotated[int, typer.Option(min=1, metavar="N", help="Test runs of each search, at most.")] = 256,
    model: Annotated[str, typer.Option(metavar="NAME_OR_FOLDER", help="Model to use, as in kelp repair.")] = "default",
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
      kelp view
    """
    require("view", "kelp view")
    if path is not None and not path.exists():
        raise KelpError(f"{path} does not exist")
    from kelp.repair import Budget, Session, models
    from kelp.repair import Tests as GivenTests
    from kelp.web.server import Shown, serve

    given = options.given_tests(tests, asserts, doctest, test_command)
    budget = options.budget(runs=max_runs, seconds=max_seconds, edits=Budget().edits, patches=Budget().patches)
    is_file = path is not None and not path.is_dir() and path.suffix != ".html"
    if given is not None and not is_file:
        raise KelpError("Tests go with a Python file", "name one, as in kelp view mine.py --tests test_mine.py")
    interpreter = options.python(path if is_file and path else Path("program.py").absolute(), python)

    def session(program: Path | str, tests: GivenTests | None, model: Any) -> Session:
        return Session(program, tests, budget, model=model, python=interpreter, allow_weak=allow_weak_sandbox)

    with options.in_options():
        weights = models.find(model)
        if is_file and path is not None:
            session(path, given, "none")  # raises KelpError for bad input before the page is served
        elif path is not None and path.is_file():
            read_trace_of(path)
    options.say_python(interpreter)

    def ready(address: str) -> None:
        print(address, flush=True)
        if open:  # by a file that redirects: other users can read the address on a command line
            file = Path(folder, "open.html")
            file.write_text(f'<meta http-equiv="refresh" content="0; url={address}">')
            webbrowser.open(file.as_uri())

    shown = Shown(
        session=session,
        model=weights,
        folder=path if path is not None and path.is_dir() else None,
        trace=path if path is not None and path.is_file() and not is_file else None,
        file=path if is_file else None,
        tests=given,
    )
    try:
        with tempfile.TemporaryDirectory(prefix="kelp-view-") as folder:
            serve(shown, port, ready)
    except OSError as error:
        raise KelpError(f"Port {port} cannot be used: {reason(error)}") from None
    except KeyboardInterrupt:
        pass


def read_trace_of(path: Path) -> None:
    """Raise KelpError, which names the file, if it is no trace."""
    from kelp.files import read
    from kelp.web.trace import read_trace

    try:
        read_trace(read(path))
    except KelpError as error:
        raise KelpError(f"{path}: {error.message}") from None
