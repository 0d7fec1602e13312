import os
import pty


def test_a_pseudo_terminal():
    leader, follower = pty.openpty()
    assert os.isatty(follower)
    os.write(follower, b"hello\n")
    assert os.read(leader, 99) == b"hello\r\n"
