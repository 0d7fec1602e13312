"""The server process of a Sandbox, on the caller's side."""

import importlib.util
import os
import site
import socket
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

from kelp.execution.worker import start
from kelp.execution.worker.folders import SITES, holds_home, project_root
from kelp.execution.worker.protection import missing, weakness
from kelp.execution.worker.protocol import ENVIRONMENT, Config, Hello, Request, receive, remove_folder, send

_START = 60.0  # seconds that a server may take to import what the tests need


class WeakSandbox(RuntimeError):
    """This machine lacks protections; the message is one sentence that names them."""


class Server:
    """A server process, the socket to it and its folder.

    Raises WeakSandbox, and RuntimeError where it does not start.
    """

    def __init__(self, config: Config, python: str):
        if python == sys.executable and not sys.dont_write_bytecode:
            _compile()
        libraries, config["pythonpath"] = _pythonpath(config)
        environment = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ
        }
        environment |= {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(libraries), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if not sys.flags.no_user_site:
            environment["PYTHONUSERBASE"] = site.getuserbase()  # the sandbox has another home folder
        self.socket, theirs = socket.socketpair()
        folder = tempfile.mkdtemp(prefix="kelp-")
        try:
            scratch, log = os.path.join(folder, "work"), os.path.join(folder, "log")
            environment |= {"HOME": scratch, "TMPDIR": scratch}
            with theirs, open(log, "wb") as errors:
                self.process = subprocess.Popen(
                    [python, start.__file__, str(theirs.fileno()), folder],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
        except BaseException:
            self.socket.close()
            remove_folder(folder)
            raise
        self.owner = os.getpid()
        self.stop = weakref.finalize(self, _stop, self.process, self.socket, folder, self.owner)
        try:
            hello: Hello | None = self.ask(config | {"scratch": scratch}, _START)
            if hello is None:
                errors_text = Path(log).read_text("utf-8", "replace")[-500:].strip()
                raise RuntimeError(f"the sandbox's server did not start: {errors_text or 'it printed nothing'}")
            self.protections = hello["protections"]
            if hello["error"]:
                raise RuntimeError(hello["error"])
            if hello["refused"]:
                raise WeakSandbox(weakness(missing(self.protections)))
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def alive(self) -> bool:
        """Return whether it can be asked; false in a fork of its caller, since it answers to one process."""
        return os.getpid() == self.owner and self.process.poll() is None

    def ask(self, message: Config | Request, seconds: float) -> Any:
        """The server's reply; None where none comes in time."""
        self.socket.settimeout(seconds)
        try:
            send(self.socket, message)
            return receive(self.socket)
        except (OSError, ValueError):
            return None


def _compile() -> None:
    """Compile what a server imports, once, where it was installed without (by uv): a server may not write it itself."""
    specs = [importlib.util.find_spec(name) for name in ("pluggy", "_pytest")]
    files = [os.path.join(os.path.dirname(start.__file__), "pytest_run.py")]
    files += [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    for file in files:
        folder = os.path.dirname(file)
        if not os.path.exists(importlib.util.cache_from_source(file)) and os.access(folder, os.W_OK):
            import compileall

            compileall.compile_dir(folder, quiet=2)


def _pythonpath(config: Config) -> tuple[list[str], list[str]]:
    """Return PYTHONPATH's folders of libraries, and of the project, whose code the server must not run.

    An installed package is a library even where it is in the project's folder.
    """
    files = [*config["pytest_files"], *([config["module"]] if config["module"] else [])]
    roots = {project_root(file) for file in files}
    inside = tuple(os.path.join(os.path.realpath(root), "") for root in roots if not holds_home(root, config["home"]))
    folders = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    candidates = [folder for folder in folders if os.path.basename(folder) not in SITES]
    project = [folder for folder in candidates if os.path.join(os.path.realpath(folder), "").startswith(inside)]
    return [folder for folder in folders if folder not in project], project


def _stop(process: subprocess.Popen[bytes], connection: socket.socket, folder: str, owner: int) -> None:
    connection.close()  # the server ends when its caller is gone
    if os.getpid() != owner:
        return
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()  # the server dies with its launcher
        process.wait()
    remove_folder(folder)  # mostly, the launcher has done it
