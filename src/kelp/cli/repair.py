"""`kelp repair`: a broken function goes in, a tested patch comes out."""

import difflib
import gc
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.timing import Timings
from kelp.errors import Problem, reason

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.execution import CallResult, Limits, Observation, Sandbox, Suite
    from kelp.search.policy import Policy
    from kelp.search.search import Node, Result
    from kelp.search.task import Budget, Task

FIRST_RUN = 10.0  # seconds that the tests may take on the file as it is
LEAST_RUN = 2.0  # seconds that they may take on a candidate ...
LEAST_CPU = 0.5  # ... and of processor time; of both, thrice what they took before if that is more


class Strategy(StrEnum):
    best_first = "best-first"
    beam = "beam"
    best_of_n = "best-of-n"


@dataclass(frozen=True)
class Request:
    """The command line, as far as the search needs it."""

    file: Path
    tests: list[Path]
    asserts: list[str]
    doctest: bool
    test_command: str | None
    functions: list[str]
    intent: str | None
    max_seconds: float
    max_runs: int
    max_edits: int
    patches: int
    seed: int
    model: str
    strategy: str
    allow_weak_sandbox: bool


def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The Python file to repair.")],
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    function: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The function to repair, methods as Class.method; may be given again. "
            "Without it: those that the failing tests reach.",
        ),
    ] = None,
    intent: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the function is for. Without it: its docstring's first sentence."),
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Seconds to search, from the first run of the tests on.")] = 60.0,
    max_runs: Annotated[int, typer.Option(min=1, help="Test runs, the first one included.")] = 256,
    max_edits: Annotated[int, typer.Option(min=1, help="Edits that a patch may be made of.")] = 3,
    patches: Annotated[int, typer.Option(min=1, help="Stop when this many patches pass all tests.")] = 3,
    seed: Annotated[int, typer.Option(help="Of whatever is random.")] = 0,
    model: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FOLDER", help="The model to use; 'none' tries small edits, likely ones first."),
    ] = "default",
    search: Annotated[Strategy, typer.Option(help="How to search.")] = Strategy.best_first,
    diff: Annotated[bool, typer.Option("--diff", help="Print the best patch as a diff (the default).")] = False,
    write: Annotated[bool, typer.Option("--write", help="Replace FILE.py by the best patch.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as one JSON object.")] = False,
    trace: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page to step through the search.")
    ] = None,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Repair a function until its tests pass.

    Prints a unified diff and changes nothing, unless told to. Tests run in a sandbox.

    \b
    Examples:
      kelp repair slugs.py
      kelp repair slugs.py --tests tests/test_slugs.py | patch -p1
      kelp repair slugs.py --assert "slug('A b') == 'a-b'" --function slug --write
      kelp repair slugs.py --doctest --max-seconds 10 --json
      kelp repair src/app/slugs.py --test-command "pytest -q tests/test_app.py"
      kelp repair slugs.py --model none --trace slugs.html

    \b
    Exit status:
      0  repaired
      1  no patch found within the budget
      2  bad usage or bad input
      130  interrupted
    """
    timings = Timings()
    request = Request(
        file, tests or [], asserts or [], doctest, test_command, function or [], intent, max_seconds, max_runs,
        max_edits, patches, seed, model, search.value, allow_weak_sandbox,
    )  # fmt: skip
    gc.disable()  # until the search begins: what is imported and traced stays anyway, and to look at it takes time
    try:
        if diff + write + as_json > 1:
            raise Problem("--diff, --write and --json exclude one another: give one of them.")
        code = _run(request, timings, write=write, as_json=as_json, trace=trace)
    except (Problem, KeyboardInterrupt) as error:
        from kelp.cli.output import blank

        problem = error if isinstance(error, Problem) else Problem("Interrupted.", "interrupted")
        if as_json:
            print_out(json.dumps(blank(file, problem), indent=1) + "\n")
        _say(str(problem))
        code = 2 if problem is error else 130
    finally:
        gc.enable()
    raise typer.Exit(code)


def _run(request: Request, timings: Timings, *, write: bool, as_json: bool, trace: Path | None) -> int:
    """Search, and hand out what was found. Raises Problem."""
    from kelp.cli import files
    from kelp.cli import output as answer

    path = request.file
    if write:
        files.check_writable(path)
    if trace:
        files.check_writable(trace)
    task, result = _search(request, timings)
    said = answer.as_json(path, task, result) | {"model": request.model, "search": request.strategy}
    interrupted = said["status"] == "interrupted"
    if as_json:
        said |= {"seconds": round(timings.total, 4), "timings": timings.rounded()}
        print_out(json.dumps(said, indent=1) + "\n")
    elif write and result.patches and not interrupted:
        if files.read(path) != task.source:
            raise Problem(f"{path} has changed since the search began and is left as it is.")
        _replace(path, result.patches[0].source)
    elif result.patches:
        print_out(said["patches"][0]["diff"])
    _say(answer.sentence(result))
    if not (result.patches or as_json):
        _say(answer.still_failing(path, result))
    if trace:
        from kelp.web.trace import render_trace

        try:
            _replace(trace, render_trace(answer.as_trace(path, task, result)).encode())
        except Problem as problem:  # what was found is out already
            _say(str(problem))
            return 2
    return 130 if interrupted else 0 if result.patches else 1


def _search(request: Request, timings: Timings) -> tuple["Task", "Result"]:
    """Run the tests, find the functions at fault, search. Raises Problem."""
    with timings("import"):
        from kelp.cli.files import read_python
        from kelp.execution.explain import needs_of
        from kelp.languages import registry
        from kelp.repair import models as model
        from kelp.repair.tests import specify
        from kelp.search import search as engine
        from kelp.search.policy import NoModel
        from kelp.search.task import Budget, Task
        from kelp.syntax.functions import functions

    path = request.file
    language = registry.by_suffix(path) or registry.by_name("python")  # a script may have no suffix
    source = read_python(path)
    specification, found = specify(
        path, request.tests, request.asserts,
        use_doctest=request.doctest, command=request.test_command, intent=request.intent,
    )  # fmt: skip
    for test_file in found:
        _say(f"Tests: {os.path.relpath(test_file)}")
    try:
        windows = functions(source, language)
    except SyntaxError:
        raise Problem(f"{path} has syntax that Kelp's grammar does not know.") from None
    if not windows:
        raise Problem(f"{path} holds no function, and Kelp repairs functions.")
    _check_names(request, [window.qualname for window in windows])
    try:
        budget = Budget(request.max_runs, request.max_seconds, request.max_edits, request.patches)
    except ValueError as error:
        raise Problem(f"--max-{error}.") from None

    folder = model.find(request.model)
    loading = model.Loading(folder, timings) if folder else None
    with timings("sandbox"):
        first_run = budget.seconds if request.test_command else FIRST_RUN
        sandbox = start_sandbox(specification.suite, path, request.allow_weak_sandbox, first_run)
    with sandbox:
        with timings("first_tests"):
            observation = sandbox.run(source, trace=True, seconds=budget.seconds)
        _check(request, found, observation)
        tests: engine.Tests = sandbox
        limits = _limits(sandbox.limits, request, observation)
        if unmet := observation.unmet:
            _say(f"Set aside, as no fault of the program: {needs_of(unmet)}.")
            observation = observation.set_aside(unmet)
            specification = specification.without(unmet, (outcome.name for outcome in observation.outcomes))
            tests = _WithoutAside(sandbox, unmet)
        priors = _priors(request, windows, observation)
        by_name = {window.qualname: window for window in reversed(windows)}  # a property's getter has the docstring
        targets = tuple(specification.target(by_name[name], prior) for name, prior in priors.items())
        task = Task(source, targets, language)
        policy: Policy = NoModel(request.seed, "swaps")
        if loading is not None:
            with timings("wait_for_model"):
                policy = loading.result()
            with timings("compile"):
                first = observation.render
                policy.warm_up((w.program, task.condition(t, first(w.first_line))) for t, w in task.windows(source))
        gc.freeze()
        gc.enable()
        with timings("search"), _progress(budget) as watch:
            sandbox.limits = limits
            search = engine.Search(
                task, policy, tests, budget, watch=watch, spent=observation.seconds, seed=request.seed
            )
            try:
                return task, engine.run(search, request.strategy, observation)
            except KeyboardInterrupt:
                return task, search.result("interrupted")


@dataclass(frozen=True)
class _WithoutAside:
    """Runs the tests, of which some that need what no run gives them are set aside."""

    sandbox: "Sandbox"
    aside: dict[str, str]

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> "Observation":
        return self.sandbox.run(source, first=first, seconds=seconds, trace=trace).set_aside(self.aside)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> "list[CallResult]":
        return self.sandbox.evaluate(source, calls, seconds=seconds)


def start_sandbox(suite: "Suite", path: Path, allow_weak: bool, seconds: float) -> "Sandbox":
    """Raises Problem."""
    from kelp.execution import Limits, Sandbox, WeakSandbox
    from kelp.execution.worker.protection import weakness

    try:
        limits = Limits(seconds=seconds)
        if suite.command:  # what a whole project needs
            limits = Limits(seconds=seconds, memory_mb=4096, file_mb=256, open_files=1024)
        sandbox = Sandbox(suite, module=path, limits=limits, allow_weak=allow_weak)
        if sandbox.missing:
            _say(f"{weakness(sandbox.missing)}; running all the same.")
        return sandbox
    except WeakSandbox as weak:
        raise Problem(f"{weak}: --allow-weak-sandbox runs it all the same.", "weak sandbox") from None
    except OSError as error:
        raise Problem(f"The sandbox cannot start: {error.filename or ''} {reason(error)}.") from None
    except ValueError as error:
        raise Problem(f"--test-command {shlex.join(suite.command)!r}: {error}.") from None
    except RuntimeError as error:
        raise Problem(f"{error}.") from None


def _check_names(request: Request, known: list[str]) -> None:
    for name in request.functions:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            close += [other for other in known if other.endswith(f".{name}") and other not in close]
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known[:10])}."
            raise Problem(f"{request.file} has no function {name}: {hint}")


def check_tests_ran(file: Path, tests: list[Path], command: str | None, observation: "Observation") -> None:
    """Raises Problem where there were none."""
    if observation.error != "no tests were found":
        return
    if command is not None:
        raise Problem(f"--test-command {command!r} runs no test.")
    if tests:
        raise Problem(f"There is no test in {' and '.join(map(str, tests))}.")
    raise Problem(f"There is no example in the docstrings of {file}.")


def _check(request: Request, found: list[Path], observation: "Observation") -> None:
    """Raises Problem where the first run leaves nothing to repair."""
    from kelp.execution.explain import need, needs_of

    check_tests_ran(request.file, [*request.tests, *found], request.test_command, observation)
    if observation.error is not None and (observation.error_line is None or observation.needs is not None):
        needs = "" if observation.needs is None else f"; they need {need(observation.needs)}"
        raise Problem(f"The tests cannot be run: {observation.error}{needs}.")
    if observation.unmet and observation.set_aside(observation.unmet).first_failure is None:
        said = f"No test fails by a fault of {request.file}: {needs_of(observation.unmet)}."
        raise Problem(said, observation=observation)
    if observation.ok:
        counts = f"{observation.passed} of {observation.total}"
        raise Problem(f"All tests of {request.file} pass already ({counts}).", "passes already", observation)
    if observation.error is None and observation.first_failure is None:
        raise Problem("All tests are skipped: nothing says what to repair.")


def _priors(request: Request, windows: list[Any], observation: "Observation") -> dict[str, float]:
    """The functions to search with their log-probabilities. Raises Problem."""
    from kelp.repair.localise import suspects

    names = list(dict.fromkeys(request.functions))
    if names:
        return dict.fromkeys(names, -math.log(len(names)))
    priors = suspects(windows, observation)
    if priors:
        return priors
    if observation.error is not None:
        raise Problem(f"{request.file} cannot be imported, and not because of a function: {observation.error}.")
    failure = observation.first_failure
    assert failure is not None
    if request.test_command:
        raise Problem(
            f"Nothing says which function of {request.file} is at fault (no line of it is known to run in "
            f"{failure.name}): name the function with --function."
        )
    raise Problem(
        f"The failing tests reach no function of {request.file} (the first is {failure.name}): "
        "name the function with --function."
    )


def _limits(limits: "Limits", request: Request, observation: "Observation") -> "Limits":
    """Those of the tests on a candidate, judged by what they took on the file as it is.

    What loops without an end is found out by processor time, which a busy machine does not use up.
    """
    took = sum(o.seconds for o in observation.outcomes if o.status != "timeout")
    if request.test_command:  # starting it and all that it does beside its tests, in any number of processes
        return replace(limits, seconds=max(LEAST_RUN, 3 * max(took, observation.seconds)))
    return replace(limits, seconds=max(LEAST_RUN, 3 * took), cpu_seconds=max(LEAST_CPU, 3 * took))


@contextmanager
def _progress(budget: "Budget") -> Iterator[Callable[["Node"], None]]:
    """A line on stderr that tells how the search goes, in a terminal only."""
    if not sys.stderr.isatty():
        yield lambda node: None
        return
    from rich.console import Console

    best = 0
    with Console(stderr=True).status("looking at the program") as status:

        def watch(node: "Node") -> None:
            nonlocal best
            if node.observation:
                best = max(best, node.observation.passed)
                status.update(f"{node.run}/{budget.runs} test runs, best {best}/{node.observation.total} tests")

        yield watch


def _replace(path: Path, data: bytes) -> None:
    from kelp.cli.files import replace

    try:
        replace(path, data)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {reason(error)}.") from None


def print_out(text: str) -> None:
    """To stdout byte for byte: line ends are the file's own."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try again at its end
        if not isinstance(error, BrokenPipeError):  # whoever reads has enough
            raise Problem(f"The output cannot be written: {reason(error)}.") from None


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
