"""Server of `kelp view`: traces to step through, and repairs to watch while they go on.

It listens on the loopback interface alone. A request needs the token in its address and the server's own host, and one
from a page that page's origin: no other site, and no other user of the machine, gets further. Programs and traces are
hostile text: they travel as JSON and are shown as text, under a policy that allows no script but Kelp's.
"""

import ast
import asyncio
import contextlib
import hmac
import json
import secrets
import socket
import tempfile
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kelp.errors import KelpError
from kelp.files import read
from kelp.repair import Project, Session, Tests
from kelp.repair.models import Loading
from kelp.repair.timing import Timings
from kelp.web.page import part, substitute
from kelp.web.trace import Content, read_trace, told

LARGEST_REQUEST = 1 << 20  # bytes
FILES = dict.fromkeys(["trace.css", "view.css"], "text/css") | dict.fromkeys(
    ["view.js", "trace.js", "program.js", "tree.js", "python.js", "dom.js"], "text/javascript"
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MakeSession = Callable[[Path | str | Project, Tests | None, Any], Session]  # of a program, its tests and a model


@dataclass(frozen=True)
class Shown:
    """Things that a server shows: a folder of traces, one trace, a file or project to repair, or a function to try.

    `session` makes the session of a repair, and `model` is the folder of its model, None for no model. `tests` are
    those of the file.
    """

    session: MakeSession
    model: Path | None = None
    folder: Path | None = None
    trace: Path | None = None
    program: Path | Project | None = None
    tests: Tests | None = None

    @property
    def first(self) -> str:
        """The page to begin with."""
        return "list" if self.folder else "trace" if self.trace else "program" if self.program else "try"

    @property
    def name(self) -> str | None:
        """The file, or the name of the project, to repair."""
        return str(self.program.root.name if isinstance(self.program, Project) else self.program or "") or None


@dataclass
class Repair:
    """A repair that goes on or is over, with its messages so far for any number of readers.

    `make` makes its session; it may write into the folder that it is given, which lasts as long as the repair.
    """

    make: Callable[[Path], Session]
    loop: asyncio.AbstractEventLoop
    messages: list[str] = field(default_factory=list)
    over: bool = False
    stopped: bool = False
    session: Session | None = None
    thread: threading.Thread | None = None
    left: bool = False  # the server ends, and the readers are sent away
    more: asyncio.Event = field(default_factory=asyncio.Event)  # set, and replaced, at each message

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        """Run the session to its end."""
        with tempfile.TemporaryDirectory(prefix="kelp-view-") as folder:
            try:
                self._tell({"kind": "progress", "text": "Loading the model"})
                self.session = self.make(Path(folder))
                if self.stopped:
                    raise KelpError("Interrupted")
                path = self.session.project.root.name if self.session.project else self.session.path
                name = None if path is None else str(path).removeprefix(f"{folder}/")
                for message in told(self.session, name):
                    self._tell(message)
            except KelpError as error:
                self._tell({"kind": "error", "text": str(error).replace(f"{folder}/", "")})
            except Exception:
                traceback.print_exc()
                self._tell({"kind": "error", "text": "This is a bug in Kelp, not in your program."})
        self.over = True
        self._wake()

    def leave(self) -> None:
        self.left = True
        self._wake()

    def stop(self) -> None:
        self.stopped = True
        if self.session is not None:
            self.session.stop()

    def _tell(self, message: Content) -> None:
        self.messages.append(json.dumps(message, separators=(",", ":")))
        self._wake()

    def _wake(self) -> None:
        def wake() -> None:
            self.more.set()
            self.more = asyncio.Event()

        with contextlib.suppress(RuntimeError):  # the server has ended
            self.loop.call_soon_threadsafe(wake)

    async def events(self, at: int) -> AsyncIterator[str]:
        """Yield the messages from number `at` on as server-sent events, until the repair is over."""
        while True:
            more, over = self.more, self.over
            for message in self.messages[at:]:
                yield f"id: {at}\ndata: {message}\n\n"
                at += 1
            if over or self.left:
                return
            await more.wait()


class Viewer:
    """The answers of a server. One repair goes on at a time: the next one stops it."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.repairs: list[Repair] = []
        self.of_program: int | None = None  # number of the repair of the file or project
        self._loading: Loading | None = None
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/about", self.about),
            Route("/traces", self.traces),
            Route("/trace", self.trace),
            Route("/repairs", self.start, methods=["POST"]),
            Route("/repairs/{number:int}/events", self.events),
            Route("/repairs/{number:int}/stop", self.stop, methods=["POST"]),
            Route("/{name}", self.file),
        ]

    async def page(self, request: Request) -> Response:
        return Response(substitute(part("view.html"), {"trace": part("trace.html")}), media_type="text/html")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise NotThere
        return Response(part(name), media_type=FILES[name])

    async def about(self, request: Request) -> Response:
        shown = self.shown
        names = {"folder": shown.folder, "trace": shown.trace and shown.trace.name, "program": shown.name}
        return JSONResponse({name: each and str(each) for name, each in names.items()} | {"first": shown.first})

    def traces(self, request: Request) -> Response:
        """The traces of the folder, the latest first."""
        return JSONResponse(list(self._listed()))

    def trace(self, request: Request) -> Response:
        name = request.query_params.get("name")
        for path in self._paths():
            if path.name == name:
                return JSONResponse(read_trace(read(path)))
        raise NotThere

    def _paths(self) -> list[Path]:
        """The files that may be opened: requests name one of them, never a path."""
        if self.shown.folder is None:
            return [self.shown.trace] if self.shown.trace else []
        found = [path for path in self.shown.folder.glob("*.html") if path.is_file()]
        return sorted(found, key=lambda path: (-path.stat().st_mtime, path.name))

    def _listed(self) -> Iterator[Content]:
        for path in self._paths():
            with contextlib.suppress(KelpError, LookupError, TypeError, ValueError):  # another page, or a damaged one
                yield _summary(path.name, read_trace(read(path)))

    async def start(self, request: Request) -> Response:
        """Start the repair of what a person typed, or of the file or project, which is repaired once."""
        given = await _json(request)
        if not given and self.shown.program is not None:
            if self.of_program is None:
                self.of_program = self._start(self._session_of_program)
            return JSONResponse({"id": self.of_program})
        source, tests = str(given.get("source", "")), str(given.get("tests", ""))
        if not source.strip() or not tests.strip():
            raise KelpError("Write a function and its tests")
        return JSONResponse({"id": self._start(lambda folder: self._session_of(source, tests, folder))})

    def _start(self, make: Callable[[Path], Session]) -> int:
        self.stop_all()
        repair = Repair(make, asyncio.get_running_loop())
        self.repairs.append(repair)
        repair.start()
        return len(self.repairs) - 1

    def stop_all(self) -> list[threading.Thread]:
        """Stop the repair that goes on, and return its thread, which ends soon."""
        going = [repair for repair in self.repairs if not repair.over]
        for repair in going:
            repair.stop()
        return [repair.thread for repair in going if repair.thread is not None]

    async def stop(self, request: Request) -> Response:
        repair = self._repair(request)
        await asyncio.to_thread(repair.stop)
        return JSONResponse({})

    async def events(self, request: Request) -> Response:
        last = request.headers.get("Last-Event-ID", "")
        at = int(last) + 1 if last.isdecimal() else 0
        return StreamingResponse(self._repair(request).events(at), media_type="text/event-stream")

    def _repair(self, request: Request) -> Repair:
        number = request.path_params["number"]
        if number >= len(self.repairs):
            raise NotThere
        return self.repairs[number]

    def load(self) -> Any:
        """Load the model, once, in the background."""
        with self._lock:
            if self._loading is None and self.shown.model is not None:
                self._loading = Loading(self.shown.model, Timings())
            return self._loading

    def _model(self) -> Any:
        loading = self.load()
        return "none" if loading is None else loading.result()

    def _session_of_program(self, folder: Path) -> Session:
        assert self.shown.program is not None
        return self.shown.session(self.shown.program, self.shown.tests, self._model())

    def _session_of(self, source: str, tests: str, folder: Path) -> Session:
        """Return the session of texts; test functions of pytest get files in the folder. Raises KelpError."""
        if (asserts := as_asserts(tests)) is not None:
            return self.shown.session(source, asserts, self._model())
        program, test_file = folder / "program.py", folder / "test_program.py"
        (folder / "pytest.ini").write_text("[pytest]\n")  # so that no folder above counts as the project
        program.write_text(source, "utf-8")
        test_file.write_text(f"from program import *\n{tests}", "utf-8")
        return self.shown.session(program, Tests(files=(test_file,)), self._model())


class NotThere(Exception):
    """An address that leads nowhere."""


def as_asserts(text: str) -> Tests | None:
    """Return the asserts in a text, and the other statements as their setup; None where it has test functions.

    Raises KelpError where it does not parse.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise KelpError(f"The tests do not parse (line {error.lineno}: {error.msg})") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise KelpError(f"The tests do not parse ({error})") from None
    asserts, setup = list[str](), list[str]()
    for each in statements:
        definition = isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and each.name[:4].lower() == "test":
            return None
        tests = isinstance(each, ast.Expr) or any(isinstance(node, ast.Assert) for node in ast.walk(each))
        source = ast.get_source_segment(text, each) or ""
        (asserts if tests and not definition else setup).append(source)
    if not asserts:
        raise KelpError("There is no test: write an assert, as in assert f(1) == 2, or a test function")
    return Tests(asserts=tuple(asserts), setup="\n".join(setup))


def _summary(name: str, content: Content) -> Content:
    """Return the line of a trace in a list."""
    start, *_ = content["nodes"]
    end = (
        {node["id"]: node for node in content["nodes"]}[content["patches"][0]["node"]] if content["patches"] else start
    )
    before, after = (_passed(node) for node in (start, end))
    counts = f"{before} → {after}" if content["patches"] else str(before)
    shown = {key: str(content[key]) for key in ("file", "function", "status", "runs")}
    return (
        shown
        | {"seconds": float(content["seconds"])}
        | {"name": name, "tests": f"{counts} of {len(content['tests'])}", "patches": len(content["patches"])}
    )


def _passed(node: Content) -> int:
    return sum(outcome["status"] in ("pass", "skip") for outcome in node["outcomes"] or ())


async def _json(request: Request) -> Content:
    """Return the JSON object of a request. Raises KelpError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            raise KelpError(f"Function and tests are longer than {LARGEST_REQUEST} bytes")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise KelpError("The request is no JSON object")
    return given


class Guard:
    """Refuses requests without the token, for another host or from another origin, before anything reads them."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token.encode()
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            raise NotThere  # no lifespan, no web socket
        problem = self._problem(scope)
        if problem is not None:
            await PlainTextResponse(problem, 403)(scope, receive, guarded)
            return
        root = f"/{self.token.decode()}"
        await self.app(dict(scope, root_path=root), receive, guarded)

    def _problem(self, scope: Scope) -> str | None:
        """Why a request is refused: one sentence. None where it is not."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self.hosts:
            return "This server answers on 127.0.0.1 alone.\n"
        origin = headers.get("origin")
        if origin != f"http://{host}" and (origin is not None or scope["method"] != "GET"):
            return "This request comes from another page.\n"
        given = scope["path"].split("/")[1]
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token):
            return "This page needs the whole address that kelp view has printed.\n"
        return None


class Server(uvicorn.Server):
    """A server that ends its streams before it waits for them to end."""

    viewer: Viewer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for repair in self.viewer.repairs:
            repair.leave()
        super().handle_exit(sig, frame)


def application(viewer: Viewer, token: str, port: int) -> ASGIApp:
    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    async def not_there(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "There is nothing at this address."}, 404)

    handlers: dict[Any, Any] = {KelpError: refused, NotThere: not_there, 404: not_there}
    return Guard(Starlette(routes=viewer.routes(), exception_handlers=handlers), token, port)


def serve(shown: Shown, port: int, ready: Callable[[str], None]) -> None:
    """Serve on this port of the loopback interface, 0 for a free one, until Ctrl-C. `ready` is told the address.

    Raises OSError where the port is taken.
    """
    viewer, token = Viewer(shown), secrets.token_urlsafe(32)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(viewer, token, port), lifespan="off", log_level="warning", access_log=False,  # it has the token
            server_header=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        if shown.first in ("program", "try"):
            viewer.load()
        ready(f"http://127.0.0.1:{port}/{token}/")
        server = Server(config)
        server.viewer = viewer
        try:
            server.run(sockets=[listening])
        finally:
            for thread in viewer.stop_all():  # its sandbox and temporary folder go with it
                thread.join()
