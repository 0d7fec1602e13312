"""Rotated logs: app.log is written to, app.log.1 was before it, app.log.2 before that."""

from collections.abc import Iterable


def age(name: str) -> int:
    """How many rotations ago a file was written to: 0 for "app.log", 2 for "app.log.2" and "app.log.2.gz"."""
    last = name.removesuffix(".gz").rpartition(".")[2]
    return int(last) if last.isdigit() else 0


def base_name(name: str) -> str:
    """The file that was rotated: "app.log" of "app.log.2.gz"."""
    stem = name.removesuffix(".gz")
    return stem.rpartition(".")[0] if age(name) else stem


def to_delete(names: Iterable[str], keep: int) -> list[str]:
    """The files to delete so that of each log only the newest `keep` are left, the oldest first."""
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    logs: dict[str, list[str]] = {}
    for name in names:
        logs.setdefault(base_name(name), []).append(name)
    doomed = []
    for files in logs.values():
        newest_first = sorted(files)
        doomed += newest_first[keep:]
    return sorted(doomed, key=age, reverse=True)


def renames(names: Iterable[str]) -> list[tuple[str, str]]:
    """Old and new name of every file when the logs are rotated once more, in an order that overwrites none."""
    moves = []
    for name in sorted(names, reverse=True):
        zipped = ".gz" if name.endswith(".gz") else ""
        moves.append((name, f"{base_name(name)}.{age(name) + 1}{zipped}"))
    return moves
