"""A command that ends while the model is still being loaded ends as documented, and leaves nothing behind."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

from kelp.repair.models import Loading

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "early_errors.py"
KINDS = (
    "missing test file", "no such function", "tests cannot be imported", "missing import in the program",
    "broken conftest", "passes already", "Ctrl-C", "SIGTERM",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_early_end_has_its_status_and_its_output(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), kind, "--runs", "2", "--busy", "0"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_caller_in_the_same_process_lives_on(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text("def area(width, height):\n    return width + height\n")
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 2) == 4")
    assert (ran.code, ran.sentence) == (3, "All tests of shapes.py pass already (1 of 1).")
    for thread in threading.enumerate():
        if isinstance(thread, Loading):
            thread.join()  # and the next test has its own
