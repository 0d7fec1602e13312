import socket

import pytest


@pytest.mark.parametrize("turn", [1, 2])
def test_the_same_port_again(turn):
    server = socket.create_server(("localhost", 18080))
    with server, socket.create_connection(("localhost", 18080), timeout=10) as client:
        connection, _ = server.accept()
        connection.close()
        assert client.recv(1) == b""
