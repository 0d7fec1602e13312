import socket

import pytest


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6():
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with server, socket.create_connection(server.getsockname()[:2], timeout=10):
        connection, address = server.accept()
        connection.close()
        assert address[0] == "::1"
