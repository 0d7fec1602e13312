"""Folder of an evaluation: its cases, their results, the figures. A killed run resumes from it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kelp.errors import KelpError, reason
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import read_cases
from kelp.evaluation.result import CaseResult
from kelp.files import read, write
from kelp.repair.trajectory import as_json

Key = tuple[str, str]  # the arm and the case


class Results:
    """Results by arm and case. Without a folder they are kept in memory alone.

    A folder holds `settings.json`, `cases.jsonl` (which `kelp eval cases` takes), `results.jsonl` (a line for each
    arm and case, appended as it is done) and, at the end, `summary.json` and `report.html`. Raises KelpError where the
    folder holds an evaluation under other settings, or cannot be written.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self.folder, self.rows = folder, dict[Key, CaseResult]()
        if folder is None:
            return
        settings = json.loads(dump(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self._file("settings.json").exists():
                self._check(settings)
            else:
                self.write("settings.json", dump(settings, 1) + "\n")
            if self._file("results.jsonl").exists():
                self._resume()
        except OSError as error:
            raise KelpError(f"{folder} cannot be written: {reason(error)}.") from None

    def _file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name

    def _check(self, settings: Mapping[str, Any]) -> None:
        try:
            made = json.loads(read(self._file("settings.json")))
        except ValueError:
            raise KelpError(f"{self.folder} holds a settings.json that is not Kelp's: name another folder.") from None
        for name in [*settings, *made]:
            if made.get(name) != settings.get(name):
                what = f"{name} is {made.get(name)!r} there, and {settings.get(name)!r} now"
                raise KelpError(f"{self.folder} holds another evaluation ({what}): name another folder.")

    def _resume(self) -> None:
        """Read the results that are there; the last line of a killed run may be half a line."""
        kept = []
        for line in read(self._file("results.jsonl")).decode("utf-8", "replace").split("\n")[:-1]:
            try:
                fields = json.loads(line)
                by = fields.pop("by")
                self.rows[by, fields["id"]] = CaseResult.of(fields)
            except (ValueError, TypeError, KeyError):
                raise KelpError(
                    f"{self._file('results.jsonl')} holds a line that is no result: {line[:60]!r}."
                ) from None
            kept.append(line + "\n")
        write(self._file("results.jsonl"), "".join(kept).encode())

    def cases(self, make: Callable[[], tuple[list[Case], list[str]]]) -> tuple[list[Case], list[str]]:
        """Return the cases of the folder, so that a resumed run has the same; make and keep them where it has none."""
        if self.folder is None:
            return make()
        if self._file("skipped.json").exists():
            cases, bad = read_cases(self._file("cases.jsonl"))
            return cases, [*json.loads(read(self._file("skipped.json"))), *bad]
        cases, skipped = make()
        self.write("cases.jsonl", "".join(dump(case) + "\n" for case in cases))
        self.write("skipped.json", dump(skipped, 1) + "\n")
        return cases, skipped

    def add(self, by: str, row: CaseResult) -> None:
        self.rows[by, row.id] = row
        if self.folder is not None:
            with self._file("results.jsonl").open("a", encoding="utf-8") as file:
                file.write(dump({"by": by} | as_json(row)) + "\n")

    def of(self, by: str, cases: Sequence[Case]) -> list[CaseResult]:
        """Return the results of an arm, in the order of the cases."""
        return [self.rows[by, case.id] for case in cases]

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder in one rename."""
        if self.folder is not None:
            write(self._file(name), text.encode())


def dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, default=asdict)


def digest(*paths: Path) -> str:
    """First 16 hex digits of the SHA-256 of the files' contents."""
    return hashlib.sha256(b"".join(map(read, paths))).hexdigest()[:16]
