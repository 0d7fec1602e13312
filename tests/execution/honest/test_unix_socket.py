import os
import socket


def test_a_socket_with_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        connection, _ = server.accept()
        connection.sendall(b"x")
        connection.close()
        assert client.recv(9) == b"x" and os.path.exists("s")
