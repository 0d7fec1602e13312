import socket
import threading


def test_a_server_and_a_client():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(99)[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.create_connection(server.getsockname(), timeout=10) as client:
            client.sendall(b"abc")
            assert client.recv(99) == b"cba"
        thread.join()
