"""Files: what a diff of a long file looks like, and what it costs."""

import difflib
import subprocess
from pathlib import Path

import pytest

from kelp import files

LINES = [f"line {number % 7}\n" for number in range(40)]


@pytest.mark.parametrize("at", [0, 1, 3, 4, 20, 36, 38, 39])
@pytest.mark.parametrize("new", [[], ["new\n"], ["new\n", "line 3\n"]])
def test_a_diff_changes_the_old_file_into_the_new(tmp_path: Path, at: int, new: list[str]) -> None:
    after = [*LINES[:at], *new, *LINES[at + 1 :]]
    old, wanted = "".join(LINES).encode(), "".join(after).encode()
    (tmp_path / "x.py").write_bytes(old)
    diff = files.diff(tmp_path / "x.py", old, wanted)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    in_repository = files.diff(tmp_path / "x.py", old, wanted)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=in_repository.encode(), check=True)
    assert (tmp_path / "x.py").read_bytes() == wanted
    numbers = [line for line in diff.splitlines() if line.startswith("@@")]
    plain = difflib.unified_diff(LINES, after, "a", "b")
    assert numbers == [line.strip() for line in plain if line.startswith("@@")]


def test_lines_before_and_after_a_change_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    original = difflib.unified_diff

    def counting(before: list[str], after: list[str], *names: str, n: int) -> object:
        compared.append(len(before) + len(after))
        return original(before, after, *names, n=n)

    monkeypatch.setattr(difflib, "unified_diff", counting)
    old = b"".join(b"line %d\n" % (number % 500) for number in range(100_000))
    diff = files.diff("x.py", old, old.replace(b"line 7\n", b"line x\n", 1))
    assert compared == [14] and "@@ -5,7 +5,7 @@" in diff
