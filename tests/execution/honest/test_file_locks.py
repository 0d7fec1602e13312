import fcntl
import os

import pytest


def test_a_lock_file(tmp_path):
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock", "w") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(two, fcntl.LOCK_EX)
        assert os.path.exists(one.name)
