import getpass
import os
import pwd
from pathlib import Path


def test_who_runs_this(monkeypatch):
    assert pwd.getpwuid(os.getuid()).pw_uid == os.getuid()
    monkeypatch.delenv("HOME", raising=False)
    assert Path.home().is_absolute()
    assert getpass.getuser()


def test_a_setting_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (Path.home() / ".shoprc").write_text("x")
    assert Path("~/.shoprc").expanduser().read_text() == "x"
