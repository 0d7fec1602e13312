import socket
import subprocess
import sys
import time
import urllib.request


def test_a_server_that_is_a_program(tmp_path):
    (tmp_path / "page.txt").write_text("hello")
    with socket.create_server(("127.0.0.1", 0)) as any_server:
        port = any_server.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/page.txt", timeout=10) as answer:
                    assert answer.read() == b"hello"
                    break
            except OSError:
                time.sleep(0.05)
        else:
            raise AssertionError("no answer")
    finally:
        child.kill()
        child.wait()
