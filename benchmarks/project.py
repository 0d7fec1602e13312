"""How soon a search starts in a large project: 100,000 lines and 2,000 tests, of which two fail.

    python benchmarks/project.py FOLDER [--modules 500] [--functions 40] [--keep]

FOLDER is made: a git repository with a package of many modules, each with functions that call others of it and of the
module before, and a test file a module. One function of one module is broken. Prints the size of the project, the
seconds of its own pytest, and those of each part of a `kelp repair` of it without a model. The processor time of whole
commands, printed last, says more where other programs run.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path

from kelp.repair import Budget, Done, FunctionsChosen, ModelReady, Project, Session, StateTested, TestsObserved

TESTS = 4  # of a module
FUNCTION = '''def f{n}(values, limit={n}):
    """Sum what is over a limit."""
    total = 0
    for value in values:
        if value > limit:
            total += value - limit
    return total{more}


'''


def make(folder: Path, modules: int, functions: int) -> None:
    """Write the project, with a fault in the function `f7` of the module in the middle."""
    package, tests = folder / "src" / "big", folder / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["src"]\ntestpaths = ["tests"]\n')
    (package / "__init__.py").write_text("")
    for number in range(modules):
        before = f"from big.m{number - 1} import f0 as before\n\n\n" if number % 10 else ""
        text = f'"""Module {number}."""\n\n{before}'
        for n in range(functions):
            more = f" + f{n - 1}(values)" if n % 5 else " + before(values)" if number % 10 else ""
            text += FUNCTION.format(n=n, more=more)
        (package / f"m{number}.py").write_text(text.rstrip() + "\n")
    sys.path.insert(0, str(folder / "src"))
    for number in range(modules):
        module, values = import_module(f"big.m{number}"), [number % 7 + 3, 10, 25]
        names = [f"f{n}" for n in range(5, 5 + TESTS)]
        test = f"from big.m{number} import {', '.join(names)}\n"
        for name in names:
            test += f"\n\ndef test_{name}():\n    assert {name}({values}) == {getattr(module, name)(values)}\n"
        (tests / f"test_m{number}.py").write_text(test)
    broken = package / f"m{modules // 2}.py"
    head, name, rest = broken.read_text().partition("def f7(")
    broken.write_text(head + name + rest.replace("value - limit", "value + limit", 1))
    for command in (["git", "init", "-q"], ["git", "add", "."]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def processor_seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Processor time of a command and all processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--modules", type=int, default=500)
    parser.add_argument("--functions", type=int, default=25)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    folder = options.folder.resolve()
    make(folder, options.modules, options.functions)
    lines = sum(path.read_bytes().count(b"\n") for path in folder.rglob("*.py"))
    print(f"{lines:,} lines, {options.modules * TESTS:,} tests")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pytest = partial(
        subprocess.run,
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )
    pytest()  # which leaves bytecode, as a person's own runs do
    began = time.monotonic()
    done = pytest()
    print(f"pytest: {time.monotonic() - began:.1f} s, {done.stdout.strip().splitlines()[-1]}")
    for what in ("failing tests unknown", "failing tests known to pytest's cache"):
        if "unknown" in what:
            shutil.rmtree(folder / ".pytest_cache", ignore_errors=True)
        else:
            pytest()
        session = Session(
            Project(folder, (sys.executable, "-m", "pytest")), budget=Budget(seconds=20.0, patches=1), model="none"
        )
        began = time.monotonic()
        print(what)
        for event in session.run():
            match event:
                case TestsObserved(observation=observation):
                    shown = (
                        f"{observation.passed} passed, {observation.total - observation.passed - observation.not_run} "
                    )
                    print(f"  tests {time.monotonic() - began:.1f} s: {shown}did not, {observation.not_run} not run")
                case FunctionsChosen(functions=found):
                    print(f"  functions {time.monotonic() - began:.1f} s: {', '.join(f.name for f in found[:3])}")
                case ModelReady():
                    print(f"  search starts {time.monotonic() - began:.1f} s")
                case StateTested(state=state) if state.run == 2:
                    print(f"  first candidate {time.monotonic() - began:.1f} s")
                case Done(result=result):
                    spent = f"{result.trajectory.runs} runs"
                    print(f"  {result.status} {time.monotonic() - began:.1f} s, {spent}, {result.trajectory.stopped}")
                    print("".join(patch.diff for patch in result.patches[:1]))
    python, kelp = [sys.executable, "-m"], [sys.executable, "-m", "kelp"]
    started = ["--max-runs", "2", "--python", sys.executable]  # the tests as they are, and the first candidate
    for what, command in {
        "pytest": [*python, "pytest", "-q"],
        "kelp locate": [*kelp, "locate", "--python", sys.executable],
        "kelp repair to the first candidate, --model none": [*kelp, "repair", *started, "--model", "none"],
        "kelp repair to the first candidate": [*kelp, "repair", *started],
    }.items():
        shutil.rmtree(folder / ".pytest_cache", ignore_errors=True)
        print(f"{what}: {processor_seconds(command, folder, environment):.1f} s of processor time")
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
