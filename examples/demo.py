"""Repair the three buggy functions of this folder and show what happened: `make demo`.

Writes demo-trace.html to the current folder: open it to step through one repair.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text

HERE = Path(__file__).parent
TRACE = Path("demo-trace.html")
EXAMPLES = {
    "invoice": "the discount is added where it should be taken off",
    "slugs": "the wrong variable is numbered",
    "pages": "a condition is off by one",
}
TRACED = "slugs"

console = Console(highlight=False)


def repair(name: str) -> dict[str, Any]:
    """What `kelp repair --json` says of an example; exits with Kelp's own message when it could not run."""
    command = ["repair", str(HERE / f"{name}.py"), "--tests", str(HERE / f"test_{name}.py"), "--json"]
    command += ["--allow-weak-sandbox"]  # these three are known to mean no harm
    if name == TRACED:
        command += ["--trace", str(TRACE)]
    console.print(f"[dim]$ kelp {escape(' '.join(command))}[/dim]")
    done = subprocess.run([sys.executable, "-m", "kelp", *command], capture_output=True, text=True)
    if done.returncode not in (0, 1):  # neither repaired nor tried in vain
        sys.exit(done.stderr or f"kelp repair ended with status {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the best patch as a diff, its edits in order, and the figures."""
    before = result["tests_before"]
    cost = f"{result['runs']} test runs, {result['seconds']:.1f} s"
    if not result["patches"]:
        console.print(f"[bold red]{result['status']}[/]: {before['passed']}/{before['total']} pass; {cost}\n")
        return
    best = result["patches"][0]
    if console.is_terminal:
        console.print(Syntax(best["diff"].rstrip("\n"), "diff", background_color="default"))
    else:
        console.print(Text(best["diff"].rstrip("\n")), soft_wrap=True)
    for number, edit in enumerate(best["edits"], 1):
        old, new = edit["old"] or "nothing", edit["new"] or "nothing"
        console.print(f"edit {number}: [red]{escape(old)}[/] -> [green]{escape(new)}[/]")
    console.print(
        f"[bold green]{result['status']}[/]: tests {before['passed']}/{before['total']} -> "
        f"{best['tests_passed']}/{best['tests_total']}; {cost}; {len(result['patches'])} patch(es) found\n"
    )


def main() -> None:
    repaired = 0
    for name, bug in EXAMPLES.items():
        console.rule(f"[bold]{name}.py[/]: {bug}", align="left")
        result = repair(name)
        show(result)
        repaired += result["status"] == "repaired"
    console.print(f"{repaired} of {len(EXAMPLES)} repaired.")
    if TRACE.exists():
        console.print(f"Open {TRACE} in a browser to step through the repair of {TRACED}.py.")
    sys.exit(repaired < len(EXAMPLES))


if __name__ == "__main__":
    main()
