"""An SSH server in a thread of the tests, which runs commands as this user."""

import asyncio
import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serving(host_key: Path, client_key: Path, environment: dict[str, str]) -> Iterator[int]:
    """Port of a server on this machine, with more variables for what it runs."""
    asyncssh = pytest.importorskip("asyncssh", reason="The Justfile is not tested: asyncssh is not installed.")

    async def run(process: "asyncssh.SSHServerProcess") -> None:
        command = ["bash", "-c", process.command or "exec bash"]
        variables = os.environ | environment
        if process.term_type is None:
            child = await asyncio.create_subprocess_exec(
                *command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            await process.redirect(child.stdin, child.stdout, child.stderr)
        else:
            own, other = pty.openpty()
            child = await asyncio.create_subprocess_exec(
                *command, env=variables | {"TERM": process.term_type}, stdin=other, stdout=other, stderr=other,
                start_new_session=True, preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
            )  # fmt: skip
            os.close(other)  # opened by the first process of a session, a terminal is the session's
            await process.redirect(stdin=os.dup(own), stdout=own)
        status = await child.wait()
        process.exit(status)
        await process.wait_closed()

    async def listen() -> None:
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[str(host_key)], authorized_client_keys=str(client_key),
            process_factory=run, encoding=None, line_editor=False,
        )  # fmt: skip
        ports.append(server.get_port())
        ready.set()
        await stopped.wait()
        server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def serve() -> None:
        try:
            loop.run_until_complete(listen())
        finally:
            ready.set()

    ports: list[int] = []
    ready, stopped, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
