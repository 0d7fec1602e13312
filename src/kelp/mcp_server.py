"""MCP server over stdio: an assistant repairs a file, locates a fault or runs tests, by the session of `kelp repair`.

Each tool reads files and runs tests in the sandbox; none writes a file. A call reports its progress and ends soon when
the client cancels it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

import kelp
from kelp.cli import output
from kelp.cli.repair import chosen
from kelp.cli.target import read_target
from kelp.errors import KelpError
from kelp.execution.explain import counts
from kelp.execution.observation import Observation
from kelp.repair import (
    Budget,
    Done,
    Event,
    FunctionsChosen,
    Located,
    ModelReady,
    Patch,
    SandboxStarted,
    Session,
    StateTested,
    TestsObserved,
    load,
)
from kelp.repair import models as known_models

Answer = dict[str, Any]
Target = Annotated[
    str,
    Field(
        description="'.' for the project, FILE.py, FILE.py:LINE, FILE.py::FUNCTION, a test file or TEST_FILE.py::TEST, "
        "relative to the folder that the server was started in"
    ),
]
TestFiles = Annotated[
    list[str], Field(description="pytest files; without any tests, those beside a file, or the project's failing ones")
]
Asserts = Annotated[list[str], Field(description="for a file: expressions that must be true, as in f([]) == 0")]
Doctest = Annotated[bool, Field(description="for a file: run the examples in the docstrings")]
Seconds = Annotated[float, Field(gt=0, le=3600, description="seconds to search")]
SUSPECTS = 5  # functions that `locate` names
FAILURES = 10  # failing tests that are explained
INSTRUCTIONS = (
    "Kelp repairs Python functions that fail their tests: it searches small edits and runs the tests in a sandbox. "
    "Call repair for the project, or with a file and its tests. Read the diff before you apply it: tests may be too "
    "weak. Where there is no patch, locate says which functions and lines the failing tests point to."
)
T = TypeVar("T", bound=Event)


@dataclass
class Tools:
    """The tools of one server, which share the model: it is loaded by the first repair."""

    model: str | None = None  # None: the one of the project's settings, or the one that ships
    allow_weak: bool = False
    _loaded: dict[str, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    async def repair(
        self,
        context: Context,
        target: Target = ".",
        tests: TestFiles = [],  # noqa: B006 (no tool changes its arguments)
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
        seconds: Seconds = 60.0,
    ) -> Answer:
        """Search for a small patch of a Python project or file that makes its failing tests pass. Changes no file.

        Returns patches as unified diffs, best first; without one, the failures that are left.
        """

        def make() -> Session:
            return self._session(target, tests, asserts, doctest, Budget(seconds=seconds))

        result = (await _run(make, Session.run, Done, context)).result
        answer = {
            "status": result.status,
            "summary": output.sentence(result),
            "patches": [_patch(patch) for patch in result.patches],
        }
        return answer if result.patches else answer | {"explanation": output.still_failing(result)}

    async def locate(
        self,
        context: Context,
        target: Target = ".",
        tests: TestFiles = [],  # noqa: B006
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
    ) -> Answer:
        """Name the functions and lines that the failing tests of a Python project or file point to, and why."""

        make = partial(self._session, target, tests, asserts, doctest)
        located = await _run(make, lambda session: session.locate(SUSPECTS), Located, context)
        return {"suspects": list(map(output.suspect_json, located.suspects)), **_failing(located.observation)}

    async def run_tests(
        self,
        context: Context,
        target: Target = ".",
        tests: TestFiles = [],  # noqa: B006
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
    ) -> Answer:
        """Run the tests of a Python project or file once, in the sandbox, and explain the failures."""

        make = partial(self._session, target, tests, asserts, doctest)
        observation = (await _run(make, Session.run, TestsObserved, context)).observation
        return {
            "status": "passed" if observation.ok else "not passed",
            "summary": counts(observation),
            "passed": observation.passed,
            "total": observation.total,
            **_failing(observation),
        }

    def _session(
        self,
        target: str,
        tests: Sequence[str],
        asserts: Sequence[str],
        doctest: bool,
        budget: Budget | None = None,
    ) -> Session:
        """A session of a target; without a budget, one that runs tests and loads no model."""
        asked, paths = read_target(target), list(map(Path, tests))
        program, given, names, settings, python = chosen(asked, paths, list(asserts), doctest, None, None, None)
        model = "none" if budget is None else self._model(self.model or settings.model or "default")
        return Session(
            program, given, budget or Budget(), model=model, functions=names, python=python, allow_weak=self.allow_weak
        )

    def _model(self, name: str) -> Any:
        """A model, loaded once for all repairs, and compiled once for each size of program."""
        with self._lock:
            if name not in self._loaded:
                folder = known_models.find(name)
                self._loaded[name] = "none" if folder is None else load(folder)
            return self._loaded[name]


async def _run(
    make: Callable[[], Session], start: Callable[[Session], Iterator[Event]], until: type[T], context: Context
) -> T:
    """Run a session in a thread up to an event, which is returned. Raises ToolError.

    Progress counts test runs. Where the call is cancelled the session is stopped, and its sandbox with it.
    """
    session: list[Session] = []
    cancelled = finished = False

    def work() -> T:
        session.append(make())
        if cancelled:
            raise KelpError("Interrupted")
        for event in start(session[0]):
            if isinstance(event, until):
                return event
            if (progress := _progress(event, session[0])) is not None:
                anyio.from_thread.run(context.report_progress, *progress)
        raise AssertionError("a session ends with Done, or with Located")

    async def stop_if_cancelled() -> None:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        finally:
            cancelled = not finished
            if session and cancelled:
                session[0].stop()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(stop_if_cancelled)
            try:
                return await anyio.to_thread.run_sync(work)
            finally:
                finished = True
                group.cancel_scope.cancel()
    except* KelpError as errors:
        error = errors.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise ToolError(str(error)) from None
    raise AssertionError("unreachable")


def _progress(event: Event, session: Session) -> tuple[float, float, str] | None:
    """Test runs done, test runs in all, and a message."""
    runs = session.budget.runs
    match event:
        case SandboxStarted():
            return 0.0, runs, "running the tests"
        case FunctionsChosen(functions=functions):
            return 0.3, runs, f"loading the model; suspicious: {', '.join(each.name for each in functions)}"
        case ModelReady():
            return 0.6, runs, "searching"
        case StateTested(state=state) if state.run is not None and state.observation is not None:
            return state.run, runs, f"{state.observation.passed} of {state.observation.total} tests pass"
    return None


def _patch(patch: Patch) -> Answer:
    observation = patch.state.observation
    assert observation is not None
    return {
        "diff": patch.diff,
        "functions": patch.functions,
        "tests_passed": observation.passed,
        "tests_total": observation.total,
    }


def _failing(observation: Observation) -> Answer:
    """The failing tests, each with what is known about its failure."""
    failing = observation.failures
    keys = ("name", "status", "call", "got", "expected", "exception", "message", "line", "needs")
    known = [{key: getattr(outcome, key) for key in keys if getattr(outcome, key)} for outcome in failing[:FAILURES]]
    return {"failing": len(failing), "failures": known, "error": observation.error}


def make_server(tools: Tools) -> MCPServer[Any]:
    """The server with its three tools, in the current folder."""
    server = MCPServer[Any](
        "kelp", title="Kelp", version=kelp.__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    for tool, title in (
        (tools.repair, "Repair a file"),
        (tools.locate, "Locate a fault"),
        (tools.run_tests, "Run tests"),
    ):
        about = ToolAnnotations(title=title, read_only_hint=True, open_world_hint=False)
        server.add_tool(tool, annotations=about)
    return server


def serve(tools: Tools) -> None:
    """Serve on stdin and stdout until the client leaves."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    make_server(tools).run("stdio")
