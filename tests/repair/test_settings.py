"""The table [tool.kelp]: read, checked, and refused with the key that is wrong."""

from pathlib import Path

import pytest

from kelp.errors import KelpError
from kelp.repair.settings import Settings, settings_of


def test_without_a_table_the_settings_are_empty(tmp_path: Path) -> None:
    assert settings_of(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nkelp = 1\n")
    assert settings_of(tmp_path) == Settings()


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kelp]\ntest-command = "pytest -q"\npython = ".venv"\nexclude = ["src/vendor"]\nmax-seconds = 30\n'
        'max-runs = 100\nmax-edits = 2\npatches = 4\nmodel = "none"\n'
    )
    settings = settings_of(tmp_path)
    assert (settings.test_command, settings.python, settings.exclude) == ("pytest -q", ".venv", ["src/vendor"])
    assert (settings.max_seconds, settings.max_runs, settings.max_edits, settings.patches) == (30.0, 100, 2, 4)
    assert settings.model == "none"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("maximum = 1", r"\[tool.kelp\] has no key maximum: there are test-command, python, exclude"),
        ("max-runs = 0", r"max-runs in \[tool.kelp\]: input should be greater than 0"),
        ('max-runs = "many"', r"max-runs in \[tool.kelp\]: input should be a valid integer"),
        ('exclude = "src"', r"exclude in \[tool.kelp\]: input should be a valid list"),
        ("model = none", "is no TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.kelp]\n{line}\n")
    with pytest.raises(KelpError, match=message):
        settings_of(tmp_path)
