"""MCP server over stdio: an assistant repairs a file, locates a fault or runs tests, by the session of `kelp repair`.

Each tool reads files and runs tests in the sandbox; none writes a file. A call reports its progress and ends soon when
the client cancels it.
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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
from kelp.errors import KelpError
from kelp.execution.explain import explain
from kelp.repair import (
    Budget,
    Done,
    Event,
    FunctionsChosen,
    ModelReady,
    Patch,
    SandboxStarted,
    Session,
    StateTested,
    Tests,
    TestsObserved,
    find_python,
    load,
)
from kelp.repair import models as known_models
from kelp.search.suspicion import suspicion

Answer = dict[str, Any]
File = Annotated[str, Field(description="Python file, relative to the folder that the server was started in")]
TestFiles = Annotated[
    list[str], Field(description="pytest files; with no tests at all, test_FILE.py beside FILE or in tests/")
]
Asserts = Annotated[list[str], Field(description="expressions that must be true, as in f([]) == 0")]
Doctest = Annotated[bool, Field(description="run the examples in the docstrings")]
Functions = Annotated[
    list[str], Field(description="functions to repair, methods as Class.method; without: those that fail")
]
Seconds = Annotated[float, Field(gt=0, le=3600)]
LINES = 5  # suspicious lines that `locate` names
INSTRUCTIONS = (
    "Kelp repairs Python functions that fail their tests: it searches small edits and runs the tests in a sandbox. "
    "Call repair with a file and its tests; read the diff that it returns before you apply it: tests may be too weak. "
    "Where there is no patch, locate says which functions and lines the failing tests point to."
)
T = TypeVar("T", bound=Event)


@dataclass
class Tools:
    """The tools of one server, which share the model: it is loaded by the first repair."""

    model: str = "default"
    allow_weak: bool = False
    _loaded: Any = None
    _lock: Lock = field(default_factory=Lock)

    async def repair(
        self,
        context: Context,
        file: File,
        tests: TestFiles = [],  # noqa: B006 (no tool changes its arguments)
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
        functions: Functions = [],  # noqa: B006
        seconds: Seconds = 60.0,
    ) -> Answer:
        """Search for a small patch of a Python file that makes its failing tests pass. Changes no file.

        Returns patches as unified diffs, best first; without one, the failures that are left.
        """

        def make() -> Session:
            return self._session(file, tests, asserts, doctest, functions, seconds=seconds, model=self._model())

        result = (await _run(make, Done, context)).result
        answer = {
            "status": result.status,
            "summary": output.sentence(result),
            "patches": [_patch(patch) for patch in result.patches],
        }
        return answer if result.patches else answer | {"failures": output.still_failing(result)}

    async def locate(
        self,
        context: Context,
        file: File,
        tests: TestFiles = [],  # noqa: B006
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
        seconds: Seconds = 60.0,
    ) -> Answer:
        """Name the functions and lines of a Python file that its failing tests point to, most suspicious first."""
        observed: list[TestsObserved] = []

        def make() -> Session:
            return self._session(file, tests, asserts, doctest, (), seconds=seconds, model="none")

        chosen = await _run(make, FunctionsChosen, context, observed.append)
        observation = observed[0].observation
        by_line = suspicion(observation)
        source = Path(file).read_bytes().decode("utf-8", "replace").split("\n")
        worst = sorted(by_line, key=lambda line: -by_line[line])[:LINES]
        return {
            "functions": [{"name": each.name, "probability": math.exp(each.log_prob)} for each in chosen.functions],
            "lines": [{"line": n, "suspicion": by_line[n], "text": source[n - 1].strip()} for n in sorted(worst)],
            "failures": explain(observation, Path(file).read_bytes(), file),
        }

    async def run_tests(
        self,
        context: Context,
        file: File,
        tests: TestFiles = [],  # noqa: B006
        asserts: Asserts = [],  # noqa: B006
        doctest: Doctest = False,
        seconds: Seconds = 60.0,
    ) -> Answer:
        """Run the tests of a Python file once, in the sandbox, and explain the failures."""

        def make() -> Session:
            return self._session(file, tests, asserts, doctest, (), seconds=seconds, model="none")

        observation = (await _run(make, TestsObserved, context)).observation
        return {
            "status": "passed" if observation.ok else "not passed",
            "passed": observation.passed,
            "total": observation.total,
            "tests": [{"name": each.name, "status": each.status} for each in observation.outcomes],
            "report": explain(observation, Path(file).read_bytes(), file),
        }

    def _session(
        self,
        file: str,
        tests: Iterable[str],
        asserts: Iterable[str],
        doctest: bool,
        functions: Iterable[str],
        *,
        seconds: float,
        model: Any,
    ) -> Session:
        path = Path(file)
        given = Tests(asserts=tuple(asserts), files=tuple(map(Path, tests)), doctest=doctest)
        return Session(
            path,
            given if given != Tests() else None,
            Budget(seconds=seconds),
            model=model,
            functions=tuple(functions),
            python=find_python(path),
            allow_weak=self.allow_weak,
        )

    def _model(self) -> Any:
        """The model of all repairs: loaded once, and compiled once for each size of program."""
        with self._lock:
            if self._loaded is None:
                folder = known_models.find(self.model)
                self._loaded = "none" if folder is None else load(folder)
            return self._loaded


async def _run(
    make: Callable[[], Session], until: type[T], context: Context, see: Callable[[Any], None] | None = None
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
        for event in session[0].run():
            if see is not None and isinstance(event, TestsObserved):
                see(event)
            if isinstance(event, until):
                return event
            if (progress := _progress(event, session[0])) is not None:
                anyio.from_thread.run(context.report_progress, *progress)
        raise AssertionError("a session ends with Done")

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
