"""What a Sandbox and its server share: messages, JSON behind a length of four bytes, and cleaning up."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import struct
from collections.abc import Mapping
from typing import Any


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    connection.sendall(struct.pack("!I", len(data)) + data)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message, or None where the other side is gone."""
    header = _receive_exactly(connection, 4)
    data = None if header is None else _receive_exactly(connection, struct.unpack("!I", header)[0])
    return None if data is None else json.loads(data)


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 2**20))
        if not part:
            return None
        data += part
    return bytes(data)


def timed_out(reply: Mapping[str, Any]) -> bool:
    """Did the run that a reply is about end at its limit of seconds, or of those of the processor?"""
    return reply["ended"] in ("deadline", "cpu") or reply["status"] == -signal.SIGXCPU


def as_text(value: object) -> str | None:
    """As text that can be encoded: what a program makes may hold lone surrogates."""
    return None if value is None else str(value).encode("utf-8", "replace").decode()


def function_of(test: str) -> str:
    """The name of a test without its parameters."""
    return test.partition("[")[0]


def empty_folder(folder: str) -> None:
    """Remove all that is in the folder, however deep: a program may nest deeper than `shutil.rmtree` can go.

    What is in a folder's folders is moved up, level by level, until nothing is left.
    """
    numbers = itertools.count()
    while inside := list(os.scandir(folder)):
        for entry in inside:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for below in list(os.scandir(entry.path)):
                if below.is_dir(follow_symlinks=False):
                    os.chmod(below.path, 0o700)
                os.rename(below.path, os.path.join(folder, f"kelp-{next(numbers)}"))
            os.rmdir(entry.path)


def remove_folder(folder: str) -> None:
    """Remove the folder and all in it; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        empty_folder(folder)
        os.rmdir(folder)
