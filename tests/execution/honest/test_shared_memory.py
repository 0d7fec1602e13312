from multiprocessing import shared_memory


def test_shared_memory():
    block = shared_memory.SharedMemory(create=True, size=64)
    try:
        block.buf[:5] = b"hello"
        other = shared_memory.SharedMemory(name=block.name)
        assert bytes(other.buf[:5]) == b"hello"
        other.close()
    finally:
        block.close()
        block.unlink()
