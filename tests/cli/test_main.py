"""`kelp` itself: version, completion and color."""

import re
import subprocess
import sys

import pytest

import kelp as package


def test_version_names_the_python_the_model_and_the_state_of_the_sandbox(kelp_here):
    ran = kelp_here("--version")
    lines = ran.out.decode().splitlines()
    assert ran.code == 0 and lines[0] == f"kelp {package.__version__}"
    assert lines[1].startswith(f"python   {sys.executable} (3.") and re.match(r"model    default, \d+\.\d M", lines[2])
    assert lines[3].startswith(
        ("sandbox  all protections are active", "sandbox  This machine cannot keep a program from")
    )


def test_a_shell_completes_commands_and_options():
    def completed(words: str) -> list[str]:
        variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_KELP_COMPLETE": "complete_bash"}
        command = [sys.executable, "-m", "kelp"]
        return subprocess.run(command, env=variables, capture_output=True, text=True).stdout.split()

    assert completed("kelp rep") == ["repair"]
    assert completed("kelp repair --form") == ["--format"]


@pytest.fixture
def shapes(tmp_path):
    (tmp_path / "shapes.py").write_text("def area(a, b):\n    return a + b\n")
    return ("repair", "shapes.py", "--assert", "area(3, 5) == 15", "--model", "none", "--patches", "1")


def test_quiet_prints_the_patch_alone_and_still_says_errors(kelp_here, shapes):
    ran = kelp_here(*shapes, "-q")
    assert ran.code == 0 and ran.out.startswith(b"--- a/shapes.py") and ran.err == ""
    assert kelp_here("repair", "nowhere.py", "-q").sentence == "nowhere.py does not exist."
    assert kelp_here("test", "nowhere.py", "-q").sentence == "nowhere.py does not exist."
    assert "exclude one another" in kelp_here(*shapes, "-q", "-v").err


def test_verbose_says_each_edit_that_is_tried(kelp_here, shapes):
    ran = kelp_here(*shapes, "-v")
    assert "Functions: area (100%)." in ran.err and "run 1: 0/1 tests (start)" in ran.err
    assert re.search(r"run \d+: 1/1 tests, area: '\+' to '\*' \(near-miss\)", ran.err)


def test_a_diff_is_in_color_only_where_asked_for(kelp_here, shapes, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # which is as good as none, and is restored afterwards
    assert b"\x1b" not in kelp_here(*shapes).out
    assert b"\x1b[32m+    return a * b\x1b[0m\n" in kelp_here("--color", "always", *shapes).out
    assert b"\x1b" not in kelp_here("--color", "never", *shapes).out
    assert b"\x1b" not in kelp_here("--color", "always", *shapes, "--format", "lsp").out
