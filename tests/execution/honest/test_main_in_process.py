import pytest
import shop


def test_main_prints(capsys):
    assert shop.main(["1", "2"]) == 0
    assert capsys.readouterr().out == "3\n"


def test_main_exits(monkeypatch):
    monkeypatch.setattr("sys.argv", ["shop"])
    with pytest.raises(SystemExit):
        shop.main()
