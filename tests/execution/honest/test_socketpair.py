import array
import os
import socket


def test_a_descriptor_travels():
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    reading, writing = os.pipe()
    one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))])
    _, [(_, _, data)], _, _ = two.recvmsg(1, 64)
    os.write(array.array("i", data)[0], b"hello")
    assert os.read(reading, 9) == b"hello"
