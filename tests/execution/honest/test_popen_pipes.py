import subprocess
import sys


def test_talking_to_a_child():
    code = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as child:
        child.stdin.write("hello\n")
        child.stdin.flush()
        assert child.stdout.readline() == "HELLO\n"
        child.stdin.close()
    assert child.returncode == 0
