"""A session of pytest that starts sooner finds the same packages and plugins as any other."""

import subprocess
import sys
from pathlib import Path

KNOWN = """
import importlib.metadata, sys
from kelp.execution.worker.quick_start import know_packages

def found():
    return [(each.metadata["Name"], sorted(map(str, each.entry_points))) for each in importlib.metadata.distributions()]

before = found()
know_packages()
assert found() == before and len(before) > 5
sys.path.insert(0, sys.argv[1])
name, points = found()[0]
assert name == "late" and "late_plugin" in points[0], (name, points)
assert found()[1:] == before
assert [each.metadata["Name"] for each in importlib.metadata.distributions(path=[sys.argv[1]])] == ["late"]
assert importlib.metadata.version("late") == "1"
"""
SESSION = """
import sys
import pytest
from kelp.execution.worker.quick_start import prepare_session, skim_plugins

class Plugin:
    def pytest_configure(self, config):
        self.config = config

plugin = Plugin()
skim_plugins()
prepare_session(["-q", "-pno:doctest"])
code = pytest.main([*sys.argv[1:], "-q", "--maxfail=1"], plugins=[plugin])
print("DOCTEST", plugin.config.pluginmanager.has_plugin("doctest"))
print("ARGUMENTS", plugin.config.invocation_params.args[-1], plugin.config.invocation_params.dir)
raise SystemExit(code)
"""


def run(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True)


def test_packages_are_those_that_are_installed_and_those_of_folders_added_later(tmp_path: Path) -> None:
    info = tmp_path / "late-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\nlate = late_plugin\n")
    done = run(KNOWN, str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_prepared_session_runs_tests_with_fixtures_and_keeps_what_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import pytest\n\n@pytest.fixture\ndef two():\n    return 2\n")
    (tmp_path / "test_it.py").write_text("def test_it(two, tmp_path, monkeypatch, capsys):\n    assert two == 2\n")
    done = run(SESSION, "-pno:doctest", cwd=tmp_path)
    assert done.returncode == 0 and "DOCTEST False" in done.stdout, done.stdout + done.stderr
    assert f"ARGUMENTS --maxfail=1 {tmp_path}" in done.stdout
    assert "DOCTEST True" in run(SESSION, cwd=tmp_path).stdout  # other exclusions: a session of its own
