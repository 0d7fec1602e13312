import mmap


def test_a_mapped_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"hello world")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:5] = b"HELLO"
    assert path.read_bytes() == b"HELLO world"
