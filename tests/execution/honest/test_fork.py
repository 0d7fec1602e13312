import os


def test_fork_and_pipe():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"from the child")
        os._exit(3)
    os.close(writing)
    assert os.read(reading, 99) == b"from the child"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
