import os


def test_os_system(tmp_path):
    assert os.system(f"touch {tmp_path}/made") == 0
    assert (tmp_path / "made").exists()
