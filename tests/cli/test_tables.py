import sys

import pytest

from kelp.cli.tables import print_table


def test_a_narrow_terminal_cuts_nothing_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    arms = "none-random", "none-spectrum"
    print_table(["mutations", "by", *"abcd"], [["1", by, *["0.231 [0.17,0.29]"] * 4] for by in arms], names=2)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert [word for word in shown.split() if word in arms] == list(arms)
    assert shown.count("]") == 8  # where each figure ends
