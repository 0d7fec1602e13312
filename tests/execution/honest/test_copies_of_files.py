import os
import shutil
from pathlib import Path

DATA = Path(__file__).parent / "data"


def test_copies_keep_times(tmp_path):
    shutil.copytree(DATA, tmp_path / "data")
    shutil.copy2(DATA / "prices.txt", tmp_path / "copy.txt")
    os.utime(tmp_path / "copy.txt", (1, 1))
    assert (tmp_path / "copy.txt").stat().st_mtime == 1
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    assert (tmp_path / "all.zip").exists()
