"""Repairs of small projects that use well-known libraries, in real environments of several Pythons.

    python benchmarks/libraries.py FOLDER [--python 3.9 3.11 3.13] [--only numpy ...] [--model default]

Makes FOLDER/VERSION, an environment with all the libraries, if it is not there (needs pip and an index of packages),
and FOLDER/projects/VERSION/NAME, a project with one mistake for each. Runs the project's own pytest, then a session of
`kelp repair` in the same Python, and prints a row of a Markdown table for each library. `repaired (12)`: by the twelfth
test run. Where the tests in the sandbox do not pass and fail as the project's own pytest says, a line below tells so.
"""

import argparse
import re
import subprocess
from pathlib import Path

from kelp.errors import KelpError
from kelp.execution.interpreter import named
from kelp.repair import Budget, Done, Project, Session, TestsObserved, TestsSetAside, load
from kelp.repair import models as known

PACKAGES = (
    "numpy", "pandas", "django", "flask", "fastapi", "httpx", "sqlalchemy", "attrs", "pydantic", "hypothesis",
    "pytest", "pytest-asyncio", "pytest-django", "pytest-mock", "pytest-xdist",
)  # fmt: skip

FOLDER = Path(__file__).parent / "libraries"  # a text for each project: its files, each below a line `==> PATH <==`
PROJECTS = sorted(path.stem for path in FOLDER.glob("*.txt"))


def make_environment(folder: Path, version: str) -> Path:
    """Make an environment with the libraries, or find the one that is there; return its Python."""
    python = folder / version / "bin" / "python"
    if not python.exists():
        subprocess.run([named(version).path, "-m", "venv", str(folder / version)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
    return python


def make_project(folder: Path, name: str) -> None:
    """Write a project, each file of it anew."""
    parts = re.split(r"^==> (.+) <==\n", (FOLDER / f"{name}.txt").read_text(), flags=re.MULTILINE)[1:]
    for path, text in zip(parts[::2], parts[1::2], strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def counts_of_pytest(python: Path, folder: Path) -> tuple[int, int]:
    """Numbers of tests that pass, and of those that do not, in the project's own pytest."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    found = dict.fromkeys(("passed", "failed", "error"), 0)
    found |= {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", output.rpartition("\n=")[2])}
    return found["passed"], found["failed"] + found["error"]


def repaired(python: Path, folder: Path, model: object) -> tuple[str, list[str]]:
    """Return a cell of the table, and what differs from the project's own pytest."""
    project = Project(folder.resolve(), (str(python), "-m", "pytest"))
    notes, cell = list[str](), "no result"
    own = counts_of_pytest(python, folder)
    try:
        session = Session(
            project, budget=Budget(seconds=3600.0), python=named(str(python)),
            model=model,  # type: ignore[arg-type]
        )  # fmt: skip
        for event in session.run():
            match event:
                case TestsObserved(observation=seen):
                    if (seen.passed, seen.total - seen.passed) != own:
                        notes.append(f"{seen.passed} of {seen.total} pass, {own[0]} of {sum(own)} in its own pytest")
                case TestsSetAside(needs=needs, others=others):
                    notes += [f"set aside: {name}, {what}" for name, what in needs.items()]
                    notes += [f"set aside: {name}" for name in others]
                case Done(result=result):
                    trajectory = result.trajectory
                    runs = [state.run or 0 for state in trajectory.states if state.id in trajectory.patches]
                    cell = f"{result.status} ({min(runs, default=trajectory.runs)})"
    except KelpError as error:
        cell, notes = "error", [*notes, str(error)]
    return cell, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", nargs="+", default=["3.9", "3.11", "3.13"])
    parser.add_argument("--only", nargs="+", default=PROJECTS, choices=PROJECTS)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    pythons = {version: make_environment(options.folder.resolve(), version) for version in options.python}
    path = known.find(options.model)
    model = options.model if path is None else load(path)
    print(f"| library | {' | '.join(pythons)} |\n|---{'|---' * len(pythons)}|")
    notes = []
    for name in options.only:
        cells = []
        for version, python in pythons.items():
            folder = options.folder / "projects" / version / name
            make_project(folder, name)
            cell, found = repaired(python, folder, model)
            cells.append(cell)
            notes += [f"{name} on {version}: {note}" for note in found]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\n".join(["", *notes]))


if __name__ == "__main__":
    main()
