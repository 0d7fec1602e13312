import datetime
import locale
import time


def test_locale():
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        assert "é".upper() == "É" and locale.strxfrm("a") < locale.strxfrm("b")
    finally:
        locale.setlocale(locale.LC_ALL, before)


def test_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert datetime.datetime.fromtimestamp(0).hour == 9
    monkeypatch.undo()
    time.tzset()
