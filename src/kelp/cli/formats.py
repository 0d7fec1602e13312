"""A result in the formats that editors and CI read: SARIF 2.1.0, annotations of GitHub workflows, LSP code actions.

Each gives the place of the fault, the failing tests, and the patches as replacements of whole lines, best first.
Without a result, since all tests pass or nothing could be tried, each is empty.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kelp
from kelp.files import shown
from kelp.repair import Patch, Result

RULE = "failing-tests"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """Replacement of lines `start` to `end` of a file (counted from 0, `end` excluded) by `text`.

    `last` is the length of the last of these lines, in UTF-16 code units, if the file ends with it and without a
    newline; else 0.
    """

    path: Path
    start: int
    end: int
    text: str
    last: int = 0


def changes(result: Result, patch: Patch) -> Iterator[Change]:
    """Yield the changes of a patch, by file from the first line on. Only a newline ends a line."""
    for path, old, new in _files(result, patch):
        before, after = _lines(old), _lines(new)
        for kind, start, end, first, last in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
            if kind != "equal":
                open_end = end == len(before) and end > start and not before[-1].endswith("\n")
                length = len(before[-1].encode("utf-16-le")) // 2 if open_end else 0
                yield Change(path, start, end, "".join(after[first:last]), length)


def _lines(text: str) -> list[str]:
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines


def _files(result: Result, patch: Patch) -> Iterator[tuple[Path, str, str]]:
    """Yield the files that a patch changes, each with its old and its new text."""
    program = result.trajectory.program
    before = program.files(program.source)
    for path, source in patch.files.items():
        yield path, before[path].decode(), source.decode()


def _place(result: Result) -> tuple[Path, int, int]:
    """Return file, first line (from 0) and end of the best patch's first change, or of the likeliest function."""
    if result.patches:
        change = next(changes(result, result.patches[0]))
        return change.path, change.start, max(change.end, change.start + 1)
    program, likeliest = result.trajectory.program, result.functions[0]
    path, line = program.place(program.source.count(b"\n", 0, likeliest.start) + 1)
    return path, line - 1, line + program.source.count(b"\n", likeliest.start, likeliest.end - 1)


def _message(result: Result) -> str:
    """Return a sentence on the failing tests and one on the patch."""
    observation = result.trajectory.states[0].observation
    assert observation is not None
    failing = [each.name for each in observation.failures]
    names = ", ".join(failing[:3]) + (f" and {len(failing) - 3} more" if len(failing) > 3 else "")
    end = f"A patch: {_description(result.patches[0])}." if result.patches else "No patch was found."
    return f"{len(failing)} of {observation.total} tests fail: {names}. {end}"


def _description(patch: Patch) -> str:
    observation = patch.state.observation
    assert observation is not None
    edits = f"{len(patch.edits)} edit{'s' * (len(patch.edits) > 1)}"
    return f"{edits} in {' and '.join(patch.functions)}, with which {observation.passed} of {observation.total} pass"


def diff(result: Result | None) -> str:
    """Return the best patch as a unified diff."""
    return result.patches[0].diff if result is not None and result.patches else ""


def github(result: Result | None) -> str:
    """Return one `::error` command, which a GitHub workflow shows beside the line."""
    if result is None:
        return ""
    path, first, last = _place(result)
    title = "Kelp: a patch" if result.patches else "Kelp: no patch found"
    where = {"file": shown(path), "line": first + 1, "endLine": last, "title": title}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in where.items())
    text = f"{_message(result)}\n\n{diff(result)}".strip()
    return f"::error {properties}::{_escaped(text)}\n"


def _escaped(text: str, more: str = "") -> str:
    for sign in f"%\r\n{more}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def sarif(result: Result | None) -> str:
    """Return one SARIF run with at most one result, whose fixes are the patches."""
    rule = {
        "id": RULE,
        "name": "FailingTests",
        "shortDescription": {"text": "Tests fail."},
        "fullDescription": {"text": "Tests fail because of a function. Kelp tried small edits of it."},
    }
    run = {
        "tool": {"driver": {"name": "Kelp", "version": kelp.__version__, "rules": [rule]}},
        "columnKind": "utf16CodeUnits",
        "results": [] if result is None else [_sarif_result(result)],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _sarif_result(result: Result) -> Json:
    path, first, last = _place(result)
    name = result.patches[0].functions[0] if result.patches else result.functions[0].name
    location = {
        "physicalLocation": {
            "artifactLocation": _artifact(path),
            "region": {"startLine": first + 1, "endLine": last},
        },
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "function"}],
    }
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": _message(result)},
        "locations": [location],
        "fixes": [_sarif_fix(result, patch) for patch in result.patches],
    }


def _artifact(path: Path) -> Json:
    return {"uri": quote(shown(path)), "uriBaseId": "%SRCROOT%"}


def _sarif_fix(result: Result, patch: Patch) -> Json:
    by_file: dict[Path, list[Json]] = {}
    for change in changes(result, patch):
        end = (change.end, change.last + 1) if change.last else (change.end + 1, 1)
        region = {"startLine": change.start + 1, "startColumn": 1, "endLine": end[0], "endColumn": end[1]}
        replacement = {"deletedRegion": region, "insertedContent": {"text": change.text}}
        by_file.setdefault(change.path, []).append(replacement)
    return {
        "description": {"text": _description(patch)},
        "artifactChanges": [
            {"artifactLocation": _artifact(path), "replacements": replacements}
            for path, replacements in by_file.items()
        ],
    }


def lsp(result: Result | None) -> str:
    """Return a JSON array of code actions of the Language Server Protocol, one a patch; the first is preferred."""
    if result is None:
        return "[]\n"
    actions = []
    for number, patch in enumerate(result.patches):
        edits: dict[str, list[Json]] = {}
        for change in changes(result, patch):
            line, character = (change.end - 1, change.last) if change.last else (change.end, 0)
            start, end = {"line": change.start, "character": 0}, {"line": line, "character": character}
            uri = change.path.absolute().as_uri()
            edits.setdefault(uri, []).append({"range": {"start": start, "end": end}, "newText": change.text})
        action = {"title": f"Kelp: {_description(patch)}", "kind": "quickfix", "isPreferred": number == 0}
        actions.append(action | {"edit": {"changes": edits}})
    return json.dumps(actions, indent=1) + "\n"


FORMATS: dict[str, Callable[[Result | None], str]] = {"diff": diff, "sarif": sarif, "github": github, "lsp": lsp}
