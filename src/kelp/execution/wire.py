"""Messages between a Sandbox and its server: JSON behind a length of four bytes."""

import json
import socket
import struct
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
