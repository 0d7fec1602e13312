import importlib
import py_compile
import runpy
import sys


def test_a_module_that_the_test_writes(tmp_path, monkeypatch):
    (tmp_path / "made_here.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("made_here").ANSWER == 42
    del sys.modules["made_here"]
    assert runpy.run_path(str(tmp_path / "made_here.py"))["ANSWER"] == 42
    assert py_compile.compile(str(tmp_path / "made_here.py"), cfile=str(tmp_path / "x.pyc"))
