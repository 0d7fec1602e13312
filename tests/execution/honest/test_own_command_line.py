import subprocess
import sys
from pathlib import Path

SHOP = Path(__file__).with_name("shop.py")


def test_the_command_line():
    done = subprocess.run([sys.executable, str(SHOP), "10", "20", "--discount", "50"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "15\n")


def test_a_wrong_argument():
    assert subprocess.run([sys.executable, str(SHOP), "x"], capture_output=True).returncode == 2
