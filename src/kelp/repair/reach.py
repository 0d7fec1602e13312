"""Kinds of repair that a search cannot make, where the failures and the suspicious lines of a program call for one."""

import ast
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kelp.execution.observation import TestOutcome
from kelp.repair.localize import Suspect
from kelp.repair.trajectory import Trajectory

_LARGE = 500_000  # bytes of a program above which its names are not looked at, which would take more than a second
NEVER = (
    "A repair makes small edits inside functions, and to values that functions of one file read: it adds no imports, "
    "functions or classes, and edits nothing else."
)
_MOST = 3  # names or lines in a sentence
_MISSING = (
    r"name '(\w+)' is not defined",
    r"cannot import name '(\w+)'",
    r"No module named '([\w.]+)'",
    r"(?:object|module '[\w.]+'|type) .*has no attribute '(\w+)'",
)
_STRING = re.compile(r"[bB]?['\"]")  # beginning of the repr of a string


def out_of_reach(trajectory: Trajectory, suspects: Sequence[Suspect]) -> list[str]:
    """Return in sentences, most telling first, why a repair may be out of reach; empty where nothing shows it."""
    observation = trajectory.states[0].observation
    failing = [o for o in observation.outcomes if o.status in ("fail", "error")] if observation is not None else []
    files = {} if len(trajectory.source) > _LARGE else dict(_nodes(trajectory))
    lines = {(suspect.file, line) for suspect in suspects[:1] for line, _ in suspect.lines}
    searched = {candidate.name for candidate in trajectory.functions}
    return [
        *_missing(files.values(), failing),
        *_strings(files, lines, failing),
        *_outside(files, lines, searched),
        *_statements(trajectory),
    ]


def _nodes(trajectory: Trajectory) -> Iterator[tuple[Path, list[ast.AST]]]:
    """Yield each file with the nodes of its syntax tree, the module first."""
    program = trajectory.program
    for path, source in program.files(program.source).items():
        try:
            yield path, list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError):  # of a newer Python
            continue


def _missing(files: Iterable[list[ast.AST]], failing: Iterable[TestOutcome]) -> Iterator[str]:
    """Names that the failures miss and no file defines, under this or a similar name."""
    defined = {name for nodes in files for name in _names(nodes)}
    patterns = [re.compile(pattern) for pattern in _MISSING]
    found = dict[str, None]()
    for outcome in failing:
        for match in filter(None, (pattern.search(outcome.message or "") for pattern in patterns)):
            if match[1] not in defined and not difflib.get_close_matches(match[1], defined, cutoff=0.75):
                found[match[1]] = None
    if found:
        names = _listed(list(map(repr, found)))
        yield f"Nothing here defines {names}: a repair adds no imports, functions, classes or methods."


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names that a file defines or imports, attributes that it sets included."""
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]


def _strings(
    files: dict[Path, list[ast.AST]], lines: set[tuple[Path, int]], failing: Iterable[TestOutcome]
) -> Iterator[str]:
    """Suspicious strings, where a test gets another string than it expects."""
    if not any(_STRING.match(o.got or "") and _STRING.match(o.expected or "") for o in failing):
        return
    found = set[str]()
    for path, nodes in files.items():
        for node in nodes:
            match node:
                case ast.JoinedStr(lineno=line) | ast.Constant(value=str() | bytes(), lineno=line):
                    short = isinstance(node, ast.Constant) and len(str(node.value)) < 2
                    if (path, line) in lines and not short:
                        found.add(f"{os.path.relpath(path)}:{line}")
    if found:
        strings = "the strings" if len(found) > 1 else "the string"
        yield f"In {strings} at {_listed(sorted(found))} only values, formats and patterns are edited, not the text."


def _outside(files: dict[Path, list[ast.AST]], lines: set[tuple[Path, int]], searched: set[str]) -> Iterator[str]:
    """Values set outside functions that suspicious lines read, but for those that were searched."""
    tried = {name.rpartition(".")[2] for name in searched}
    for path, nodes in files.items():
        bodies = [node.body for node in nodes if isinstance(node, ast.Module | ast.ClassDef)]
        where = dict[str, int]()
        for statement in (statement for body in bodies for statement in body):
            if isinstance(statement, ast.Assign):
                where |= {n.id: n.lineno for n in ast.walk(statement) if isinstance(n, ast.Name) and _is_stored(n)}
        read = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in nodes
            if isinstance(node, ast.Name | ast.Attribute) and not _is_stored(node) and (path, node.lineno) in lines
        }
        places = [f"{name} ({os.path.relpath(path)}:{line})" for name, line in where.items() if name in read - tried]
        if places:
            verb = "are" if len(places) > 1 else "is"
            yield f"{_listed(places)} {verb} set outside functions, where no edit was tried."


def _is_stored(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def _statements(trajectory: Trajectory) -> Iterator[str]:
    """Places of whole statements, where the model would rather edit than inside of one."""
    program, start = trajectory.program, trajectory.states[0]
    source, sites = program.source, trajectory.pointer.get(start.id, ())
    whole = [site for site in sites if _is_whole(source, site.start, site.end)]
    if not whole or sum(site.probability for site in whole) <= sum(site.probability for site in sites) / 2:
        return
    likeliest = max(whole, key=lambda site: site.probability)
    path, line = program.place(source.count(b"\n", 0, likeliest.start) + 1)
    at = f"{os.path.relpath(path)}:{line}"
    yield f"The model expects whole statements to be written, likeliest at {at}: it writes short ones alone."


def _is_whole(source: bytes, start: int, end: int) -> bool:
    """Return whether bytes of a source are complete lines but for their indent, or a gap between lines."""
    before = source[source.rfind(b"\n", 0, start) + 1 : start].strip()
    after = source[end:].partition(b"\n")[0].strip()
    if start == end:
        return not before or not after
    return not before and not after


def _listed(parts: Sequence[str]) -> str:
    """Return `a, b and c`, or the first three and a count."""
    if len(parts) > _MOST:
        return f"{', '.join(parts[:_MOST])} and {len(parts) - _MOST} more"
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
