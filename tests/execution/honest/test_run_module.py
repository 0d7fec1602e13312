import os
import subprocess
import sys


def test_python_m():
    here = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-m", "shop", "3", "4"], cwd=here, capture_output=True, text=True)
    assert done.stdout == "7\n"
