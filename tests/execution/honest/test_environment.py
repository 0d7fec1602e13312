import os
import subprocess


def test_variables(monkeypatch):
    monkeypatch.setenv("SHOP_CURRENCY", "EUR")
    assert subprocess.check_output("echo $SHOP_CURRENCY", shell=True, text=True) == "EUR\n"
    monkeypatch.delenv("SHOP_CURRENCY")
    assert "SHOP_CURRENCY" not in os.environ
    assert os.path.isdir(os.path.expanduser("~")) and os.environ["PATH"]
