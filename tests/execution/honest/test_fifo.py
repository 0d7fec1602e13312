import os
import threading


def test_a_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_text("through"))
    thread.start()
    assert path.read_text() == "through"
    thread.join()
