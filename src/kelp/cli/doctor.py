"""`kelp doctor`: protections of this machine from the programs that Kelp runs, each tested."""

import json
from typing import Annotated

import typer

from kelp.cli import options
from kelp.errors import KelpError, reason


def doctor(
    python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="Python to run programs in, as in kelp repair.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show which protections of the sandbox are active, and test each.

    \b
    Exit status:
      0  all are active
      1  some are missing
      2  the sandbox cannot start
    """
    from kelp.execution.interpreter import InterpreterError, named
    from kelp.execution.selftest import self_test
    from kelp.execution.worker.protection import weakness

    try:
        checks, means, missing = self_test(None if python is None else named(python))
    except OSError as error:
        raise KelpError(f"The sandbox cannot start: {error.filename or ''} {reason(error)}.") from None
    except (RuntimeError, InterpreterError) as error:
        raise KelpError(f"{error}.") from None
    absent = [part for part, how in means.items() if how == "none"]
    sound = all(check.holds for check in checks) and not absent and not missing
    if as_json:
        found = {
            "status": "all active" if sound else "some missing",
            "checks": [vars(check) for check in checks],
            "means": dict(means),
            "missing": list(missing),
        }
        print(json.dumps(found, indent=1))
        raise typer.Exit(not sound)
    for check in checks:
        print(f"{'ok     ' if check.holds else 'MISSING'}  {check.name:13}  a run {check.guarantee}  ({check.means})")
    for part in absent:
        print(f"MISSING  {part:13}  no namespace of its own: what would stay inside is refused")
    if missing:
        print(f"{weakness(missing)}: kelp repair needs --allow-weak-sandbox.")
    elif sound:
        print("All protections are active.")
    else:
        print("kelp repair runs here all the same." if all(check.holds for check in checks) else "Do not rely on it.")
    raise typer.Exit(not sound)
