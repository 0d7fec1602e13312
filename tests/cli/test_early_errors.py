"""A command that ends while the model is still being loaded ends as documented, and leaves nothing behind."""

import random
import threading
from pathlib import Path

import pytest
from benchmarks.early_errors import FILES, KINDS, run, write_files
from tests.cli.conftest import Kelp

from kelp.repair.models import Loading

EARLY = [kind for kind, (_, status) in KINDS.items() if status > 1]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("kind", EARLY)
def test_an_early_end_has_its_status_and_its_output(tmp_path: Path, kind: str, as_json: bool) -> None:
    write_files(tmp_path)
    rng = random.Random(as_json)
    for _ in range(2):
        assert run(kind, tmp_path, as_json, rng) == (KINDS[kind][1], None, False)


def test_a_caller_in_the_same_process_lives_on(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(FILES["shapes.py"])
    ran = kelp_here("repair", "shapes.py", "--assert", "area(2, 2) == 4")
    assert (ran.code, ran.sentence) == (2, "All tests of shapes.py pass already (1 of 1).")
    for thread in threading.enumerate():
        if isinstance(thread, Loading):
            assert not thread.daemon  # the interpreter waits for it, or it would abort at its end
            thread.join()
