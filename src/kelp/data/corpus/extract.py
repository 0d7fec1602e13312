"""Extract Records from the text of modules: each function with its intent and its context.

Nothing is imported or executed.
"""

import ast
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kelp.data.corpus.context import Library, Module, dedented
from kelp.data.record import FunctionNode, Record, body_without_docstring
from kelp.languages.python.docstrings import first_sentence

MAX_LINES = 200
VALID = 20  # one project in this many is held out whole


@dataclass(frozen=True)
class Dropped:
    """Function or module that does not become a Record."""

    where: str  # "package-version/path:name"
    reason: str
    of: str = ""  # original of a copy


def functions_of(modules: Iterable[Module], project: str) -> Iterator[Record | Dropped]:
    """Functions and methods of the modules of one project, in order."""
    modules = list(modules)
    library = Library(modules)
    part = split_of(project)
    for module in modules:
        names = library.names(module)
        if names is None:
            yield Dropped(module.origin, "module does not parse")
            continue
        for node in _functions(names.tree):
            yield _record(module, library, node, project, part)


def split_of(project: str) -> str:
    """Split of a project. Projects are held out whole: one function of a project reveals others."""
    return "valid" if zlib.crc32(project.lower().encode()) % VALID == 0 else "train"


def _functions(tree: ast.Module) -> Iterator[FunctionNode]:
    """Functions and methods, in order, without nested functions, which may use outer variables."""
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, FunctionNode):
            yield node
        else:
            blocks = [c for c in ast.iter_child_nodes(node) if isinstance(c, ast.stmt | ast.excepthandler)]
            stack.extend(reversed(blocks))


def _record(module: Module, library: Library, node: FunctionNode, project: str, part: str) -> Record | Dropped:
    where = f"{module.origin}:{node.name}"
    if _is_stub(node):
        return Dropped(where, "stub")
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    if (node.end_lineno or first) - first >= MAX_LINES:
        return Dropped(where, f"longer than {MAX_LINES} lines")
    names = library.names(module)
    source = dedented(names.lines, node) if names else None
    if source is None:
        return Dropped(where, "does not compile on its own")
    intent = first_sentence(ast.get_docstring(node) or "")
    context = library.context(module, source, node.name)
    return Record(source, node.name, intent, context, (), module.origin, module.license, project=project, split=part)


def _is_stub(node: FunctionNode) -> bool:
    """Return whether there is nothing to repair: no statement, or one that only passes, raises or returns a name."""
    decorators = " ".join(ast.unparse(d) for d in node.decorator_list)
    if "overload" in decorators or "abstractmethod" in decorators:
        return True
    match body_without_docstring(node):
        case []:
            return True
        case [ast.Pass() | ast.Raise() | ast.Expr(value=ast.Constant())]:
            return True
        case [ast.Return(value=None | ast.Constant() | ast.Name() | ast.Attribute(value=ast.Name()))]:
            return True
    return False
