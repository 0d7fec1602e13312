"""`--python`, and the Python that `kelp repair` and `kelp test` find without it."""

import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp
from tests.environments import OWN, base, site_packages

PROGRAM = "from paints import RED\ndef add(a, b):\n    return a - b\n"
ASSERT = ("--assert", "add(RED, 2) == 3")
LIMITS = ("--model", "none", "--patches", "1")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The environment of a project, with a package that Kelp's own lacks."""
    (tmp_path / "shapes.py").write_text(PROGRAM)
    (tmp_path / "pyproject.toml").write_text("")
    made = tmp_path / ".venv"
    subprocess.run([base(OWN), "-m", "venv", "--without-pip", str(made)], check=True)
    (site_packages(made) / "paints.py").write_text("RED = 1\n")
    return made


def test_the_projects_python_is_found_and_named_once(kelp_here: Kelp, environment: Path) -> None:
    ran = kelp_here("repair", "shapes.py", *ASSERT, *LIMITS)
    assert ran.code == 0 and b"+    return a + b" in ran.out
    first, last = ran.err.splitlines()
    assert first.startswith(f"Python: .venv (Python {OWN}.") and last.startswith("Repaired: add, tests 0/1 -> 1/1")
    ran = kelp_here("repair", "shapes.py", *ASSERT, *LIMITS, "--json")
    assert ran.json["python"] == {"path": str(environment / "bin/python"), "version": first.split()[-1][:-1]}
    ran = kelp_here("test", "shapes.py", *ASSERT, "--python", str(environment), "--json")
    assert (ran.code, ran.json["python"]["path"]) == (1, str(environment / "bin/python"))
    assert ran.json["tests"][0]["status"] == "fail"


def test_a_missing_package_is_said_with_the_python_that_lacks_it(kelp_here: Kelp, environment: Path) -> None:
    (site_packages(environment) / "paints.py").unlink()
    lack = f"the package 'paints', which {environment}/bin/python does not have (install it there, or choose another "
    ran = kelp_here("repair", "shapes.py", *ASSERT, *LIMITS)
    assert ran.code == 2 and ran.err.endswith(f"; they need {lack}Python by --python).\n")
    assert f"needs {lack}" in kelp_here("test", "shapes.py", *ASSERT).out.decode()


def test_a_missing_pytest_is_one_sentence(kelp_here: Kelp, environment: Path, tmp_path: Path) -> None:
    (tmp_path / "test_shapes.py").write_text("def test_x(): pass\n")
    ran = kelp_here("repair", "shapes.py", *LIMITS)
    python = f"{environment}/bin/python"
    sentence = f"{python} has no pytest, which runs the tests: uv pip install --python {python} pytest installs it."
    assert (ran.code, ran.err.splitlines()[-1]) == (2, sentence)


@pytest.mark.parametrize("command", ["repair", "test"])
def test_a_python_that_cannot_be_used_is_one_sentence(
    kelp_here: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "shapes.py").write_text(PROGRAM)
    ran = kelp_here(command, "shapes.py", *ASSERT, "--python", "./nowhere")
    sentence = f"--python: {tmp_path}/nowhere does not start: no such file or directory."
    assert (ran.code, ran.sentence, ran.out) == (2, sentence, b"")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    ran = kelp_here(command, "shapes.py", *ASSERT)
    sentence = f"{tmp_path} has no bin/python, so it is no environment of Python: --python chooses another."
    assert (ran.code, ran.sentence) == (2, sentence)


def test_a_program_that_the_projects_python_cannot_parse_is_one_sentence(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text("def f(x):\n    match x:\n        case 1:\n            return 2\n")
    ran = kelp_here("repair", "shapes.py", "--assert", "f(1) == 3", "--python", base("3.9"))
    said = "shapes.py does not parse (line 2: invalid syntax) in "
    assert ran.code == 2 and ran.err.splitlines()[-1].startswith(said)


def test_a_program_that_only_the_projects_python_can_parse_is_one_sentence(kelp_here: Kelp, tmp_path: Path) -> None:
    if OWN != "3.11":
        pytest.skip("Kelp itself runs in a Python that knows the syntax")
    (tmp_path / "shapes.py").write_text("type Number = int\ndef f(x: Number):\n    return x\n")
    ran = kelp_here("repair", "shapes.py", "--assert", "f(1) == 3", "--python", base("3.13"))
    said = "shapes.py does not parse (line 1: invalid syntax) in the Python 3.11."
    assert ran.code == 2 and ran.err.splitlines()[-1].startswith(said)
    assert ran.err.endswith("so run Kelp in that version.\n")
