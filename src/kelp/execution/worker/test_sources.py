"""Test files, compiled once in the server, with equality in their asserts that no value of the program decides."""

from __future__ import annotations

import ast
import builtins
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from _pytest.assertion import rewrite

from kelp.execution.worker import checks
from kelp.execution.worker.bare_asserts import WIDE, names_in
from kelp.execution.worker.candidate import Candidate
from kelp.execution.worker.code_cache import TESTS

_words: dict[str, tuple[dict[str, tuple[str, str | None]], frozenset[str]]] = {}  # of each test file


def add(files: Iterable[str]) -> None:
    """In the server: compile more files whose asserts pytest rewrites, once."""
    TESTS.add((path for path in files if path not in TESTS.paths()), compile_file)


def refresh(candidate: Candidate) -> None:
    """In the child, before the program is loaded: compile changed files, and the program where it is a test file."""
    TESTS.refresh(compile_file)
    if candidate.path in TESTS.paths():
        TESTS.add([candidate.path], lambda path: _compile_tests(candidate.source, path))


def words(libraries: tuple[str, ...]) -> dict[str, tuple[dict[str, Any], frozenset[str]]]:
    """Return, by test file, its names with their meanings, and the builtins' names that it must not rebind.

    In the child, before the program is loaded.  `libraries` are prefixes of files of modules that are the same for
    every program.
    """
    found: dict[str, tuple[dict[str, Any], frozenset[str]]] = {}
    for path, (imports, free) in _words.items():
        meant = {"@py_builtins": builtins, "@pytest_ar": rewrite, "@kelp_checks": checks}
        for name, (module, part) in imports.items():
            library = sys.modules.get(module)
            if library is not None and (getattr(library, "__file__", None) or "<built-in>").startswith(libraries):
                value = library if part is None else vars(library).get(part)
                meant |= {} if value is None else {name: value}
        found[path] = meant, free
    return found


def _words_of(tree: ast.Module) -> tuple[dict[str, tuple[str, str | None]], frozenset[str]]:
    """Return the names that are bound once, by an import, with it, and the builtins' names that are bound nowhere."""
    imports: list[tuple[str, tuple[str, str | None]]] = []
    bound = Counter[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                imports.append((alias.asname or top, (top, None)))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            imports += [(alias.asname or alias.name, (node.module, alias.name)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            bound.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 1
        elif not isinstance(node, ast.alias):  # functions, classes, handlers, patterns of a match
            names = (getattr(node, "name", None), getattr(node, "rest", None))
            bound.update(name for name in names if isinstance(name, str))
    bound.update({name for name, _ in imports})
    others = {name for name, _ in imports if len({what for word, what in imports if word == name}) > 1}
    once = {name: what for name, what in imports if bound[name] == 1 and name not in others}
    return once, frozenset() if "*" in bound else frozenset(vars(builtins)) - {*bound, *vars(ModuleType("x"))}


def compile_file(path: str) -> CodeType:
    return _compile_tests(Path(path).read_bytes(), path)


def _compile_tests(source: bytes, path: str) -> CodeType:
    """Compile a test file with its asserts rewritten by pytest, and then by `_FairEquality`."""
    tree = ast.parse(source, path)
    _words[path] = _words_of(tree)
    rewrite.rewrite_asserts(tree, source, path, None)
    for number, statement in enumerate(tree.body):
        if isinstance(statement, ast.Import) and statement.names[0].asname == "@pytest_ar":
            ours = ast.Import([ast.alias("kelp.execution.worker.checks", "@kelp_checks")])
            tree.body.insert(number, _placed(ours, statement.lineno, statement.lineno))
            _FairEquality().visit(tree)
            break
    return compile(tree, path, "exec", dont_inherit=True)


def _placed(made: Any, line: int, end: int) -> Any:
    """Set the lines of nodes that have none."""
    for node in ast.walk(made):
        if "lineno" in node._attributes and not hasattr(node, "lineno"):
            vars(node).update(lineno=line, end_lineno=end, col_offset=0, end_col_offset=0)
    return made


class _FairEquality(ast.NodeTransformer):
    """Replaces `a == b` and `a in b`, in asserts that pytest has rewritten, by calls of `same`.

    Comparisons with `approx` or `ANY`, which equal many values, stay.
    """

    def __init__(self) -> None:
        self.wide = set(WIDE)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        names = names_in(node.value)
        target = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        if names & self.wide:
            self.wide.add(target)
            return node
        self.wide.discard(target)
        test = node.value
        if target.startswith("@py_") and isinstance(test, ast.Compare) and len(test.ops) == 1:
            word = {ast.Eq: "==", ast.In: "in"}.get(type(test.ops[0]))
            if word is not None:
                same = ast.Attribute(ast.Name("@kelp_checks", ast.Load()), "same", ast.Load())
                call = ast.Call(same, [test.left, test.comparators[0], ast.Constant(word)], [])
                node.value = _placed(call, test.lineno, test.end_lineno or test.lineno)
        return node
