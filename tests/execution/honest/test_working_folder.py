import os
import sys


def test_relative_paths(monkeypatch):
    monkeypatch.chdir(os.path.dirname(__file__))
    with open("data/prices.txt") as file:
        assert file.read().split() == ["1", "2", "3"]
    with open("out.log", "w") as file:
        print("hello", file=file)
    os.rename("out.log", "out.old")
    os.remove("out.old")


def test_import_of_a_neighbor(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    import shop

    assert shop.total([1, 2]) == 3 and sys.executable
