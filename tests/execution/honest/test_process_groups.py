import os
import signal
import subprocess


def test_a_whole_group_is_ended():
    child = subprocess.Popen("sleep 60 & sleep 60", shell=True, start_new_session=True)
    os.killpg(os.getpgid(child.pid), signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
