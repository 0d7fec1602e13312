"""`kelp` itself: version, completion and color."""

import re
import subprocess
import sys

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
