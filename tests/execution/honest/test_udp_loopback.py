import socket


def test_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        one.settimeout(10)
        two.sendto(b"ping", one.getsockname())
        assert one.recvfrom(99)[0] == b"ping"
