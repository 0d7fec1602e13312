import os
import tempfile


def test_temporary_files():
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file, tempfile.TemporaryDirectory() as folder:
        file.write("x")
        file.flush()
        os.link(file.name, os.path.join(folder, "y"))
        with open(os.path.join(folder, "y")) as other:
            assert other.read() == "x"
        os.chmod(file.name, 0o600)
        assert os.stat(file.name).st_mode & 0o777 == 0o600
