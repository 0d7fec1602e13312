"""Context of a function: the code of its module, and of modules imported there, that it needs to run on its own.

Nothing is imported: names are followed through the texts. A context is source code: imports of the standard library,
then the constants, helper functions and classes that the free names lead to, dependencies first. The context of a
method includes its class, for objects to call it on. A class keeps only the methods that this code mentions.
"""

import ast
import builtins
import copy
import io
import re
import sys
import textwrap
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from kelp.data.record import FunctionNode, body_without_docstring
from kelp.languages.python.names import read_names

POSTPONED = "from __future__ import annotations\n"  # begins a context with annotations: they need no names
MAX_CONTEXT = 6000  # characters
MAX_CONSTANT = 1000  # characters of one module-level constant
_IMPLIED = re.compile(r"__\w+__$")  # methods that are called without a mention of their name
_MENTIONED = re.compile(r"\.\s*([^\W\d]\w*)|['\"]([^\W\d]\w*)['\"]")
BUILTINS = frozenset(dir(builtins))
STDLIB = sys.stdlib_module_names - {"__future__"}


@dataclass(frozen=True)
class Module:
    """Text of one .py file, "\\n" line ends."""

    package: str  # "toolz-1.2.0"
    path: PurePosixPath  # as imported: toolz/itertoolz.py
    text: str
    license: str = ""
    importable: bool = False  # it can be imported where its functions will run: the standard library

    @property
    def origin(self) -> str:
        return f"{self.package}/{self.path}"

    @property
    def dotted(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class Code:
    """Source of one definition or import, as it goes into a context."""

    text: str
    is_import: bool = False
    is_class: bool = False


@dataclass(frozen=True)
class Link:
    """`from module import name` within the package."""

    module: str
    name: str


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef  # its code is cut out when it is needed


@dataclass(frozen=True)
class Names:
    """Names that a module defines at its top level."""

    tree: ast.Module
    lines: list[str]
    by_name: dict[str, Code | Link | Definition] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # modules it imports everything from


class _Unusable(Exception):
    """Raised for a context that is too long or has two meanings for one name."""


class Library:
    """Modules through which names are followed; each is parsed when first needed."""

    def __init__(self, modules: Iterable[Module]):
        self._modules = {(m.package, m.dotted): m for m in modules}
        self._parsed: dict[tuple[str, str], Names | None] = {}
        self._slim: dict[tuple[int, frozenset[str]], str] = {}  # classes with some of their methods

    def names(self, module: Module) -> Names | None:
        """Top-level names of a module; None if it does not parse."""
        key = (module.package, module.dotted)
        if key not in self._parsed:
            self._parsed[key] = _names(module)
        return self._parsed[key]

    def context(self, module: Module, source: str, own: str) -> str | None:
        """Code that the function `own` needs, without the function itself.

        None if a name cannot be resolved or has two meanings, or if the code is too long.
        """
        needed = global_names(source)
        owner = self._owner(module, source, own)
        if (
            owner is not None and own in needed
        ):  # a function of the module of the same name, which the method would replace
            return None
        evaluated = global_names(POSTPONED + source)
        code = self._needed(module, source, own, sorted(evaluated))
        if code is None:
            return None
        for name in sorted(needed - evaluated):  # in annotations only, where any class does
            found = self._needed(module, source, own, [name], code)
            if found is None and re.search(rf"\b{name}\.", source):
                return None
            code = found or code | {name: Code(f"class {name}:\n    __class_getitem__ = lambda *_: object\n")}
        # needed to call it: the class of a method, and names that the docstring's examples read
        for name in [*([owner] if owner else ()), *sorted(_in_examples(source) - needed)]:
            code = self._needed(module, source, own, [name], code) or code
        imports = sorted({c.text for c in code.values() if c.is_import})
        others = [c.text for c in code.values() if not c.is_import]
        annotated = any(global_names(POSTPONED + text) != global_names(text) for text in others)
        return "".join([POSTPONED if annotated else "", *imports, *others])

    def _owner(self, module: Module, source: str, own: str) -> str | None:
        """Top-level class of the module that has this source as a method."""
        names = self.names(module)
        if names is None:
            return None
        for name, node in names.by_name.items():
            if isinstance(node, ast.ClassDef):
                methods = [s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == own]
                if any(dedented(names.lines, method) == source for method in methods):
                    return name
        return None

    def _needed(
        self, module: Module, source: str, own: str, wanted: Iterable[str], given: Mapping[str, Code] | None = None
    ) -> dict[str, Code] | None:
        """Code of the wanted names after `given`; None if one cannot be resolved or the code is too long."""
        mentioned = _mentioned(source) | {own}  # possible names of methods that the code calls
        while True:
            code = dict(given or {})
            try:
                if not all(self._add(code, module, name, own, module, mentioned) for name in wanted):
                    return None
            except _Unusable:
                return None
            grown = mentioned.union(*(_mentioned(c.text) for c in code.values() if not c.is_import))
            if grown == mentioned or not any(c.is_class for c in code.values()):
                return code
            mentioned = grown

    def _add(
        self, code: dict[str, Code], module: Module, name: str, own: str, start: Module, mentioned: frozenset[str]
    ) -> bool:
        """Add the dependencies of a name and then its own code; False if a name cannot be resolved.

        The code is for the function `own` of the module `start`.
        """
        if name == own and module.origin == start.origin:
            return True
        found = self._resolve(module, name, depth=8, mentioned=mentioned)
        if found is None:
            return False
        home, definition = found
        if name == own:  # of another module, which may import it
            if home.origin == start.origin:
                return True
            raise _Unusable
        if name in code:
            if code[name] != definition:
                raise _Unusable
            return True
        code[name] = definition  # entered now, so that recursion ends, and moved behind its dependencies below
        for needed in sorted(global_names(POSTPONED + definition.text) - {name}):
            if not self._add(code, home, needed, own, start, mentioned):
                return False
        code[name] = code.pop(name)
        if sum(len(c.text) for c in code.values()) > MAX_CONTEXT:
            raise _Unusable
        return True

    def _resolve(self, module: Module, name: str, depth: int, mentioned: frozenset[str]) -> tuple[Module, Code] | None:
        """Definition of a name in a module, and the module that holds it."""
        names = self.names(module)
        if names is None or depth == 0:
            return None
        match names.by_name.get(name):
            case Code() as code:
                return module, code
            case ast.ClassDef() as node:
                return module, Code(self._slimmed(node, mentioned), is_class=True)
            case ast.stmt() as node:
                source = dedented(names.lines, node)
                return (module, Code(_without_docstring(source))) if source else None
            case Link(module=dotted, name=original):
                other = self._modules.get((module.package, dotted))
                if other is None or original == name:
                    return self._resolve(other, original, depth - 1, mentioned) if other else None
                return other, Code(f"{name} = {original}\n")
        for dotted in names.stars:
            other = self._modules.get((module.package, dotted))
            if other and (found := self._resolve(other, name, depth - 1, mentioned)):
                return found
        return None

    def _slimmed(self, node: ast.ClassDef, mentioned: frozenset[str]) -> str:
        """Class without docstrings and without the methods that the code never mentions."""
        methods = [s for s in node.body if isinstance(s, FunctionNode)]
        others = [s for s in node.body if not isinstance(s, FunctionNode | ast.Expr)]
        inside = {n.id for s in others for n in ast.walk(s) if isinstance(n, ast.Name)}  # x = property(get_x)
        kept = {m.name for m in methods if m.name in mentioned or m.name in inside or _IMPLIED.match(m.name)}
        key = (id(node), frozenset(kept))
        if key not in self._slim:
            body = [s for s in node.body if s in others or (s in methods and s.name in kept)]
            body = [_undocumented(s) if isinstance(s, FunctionNode) else s for s in body]
            slim = copy.copy(node)
            slim.body = body or [ast.Pass()]
            self._slim[key] = ast.unparse(slim) + "\n"
        return self._slim[key]


@lru_cache(maxsize=20_000)
def global_names(source: str) -> frozenset[str]:
    """Names read as globals, including those that the source defines, without builtins. Raises SyntaxError."""
    return read_names(source.encode()) - BUILTINS


@lru_cache(maxsize=20_000)
def _mentioned(text: str) -> frozenset[str]:
    """Names after a dot, or alone in a string as for getattr."""
    return frozenset(found[1] or found[2] for found in _MENTIONED.finditer(text))


def _in_examples(source: str) -> frozenset[str]:
    """Names that the examples in the docstring read and neither define nor import."""
    examples = "".join(
        line.split(" ", 1)[1] + "\n" for line in map(str.strip, source.split("\n")) if line.startswith((">>> ", "... "))
    )
    try:
        return global_names(examples)
    except (SyntaxError, ValueError):
        return frozenset()


def _undocumented(node: FunctionNode) -> FunctionNode:
    body = body_without_docstring(node)
    if body is node.body or not body:
        return node
    slim = copy.copy(node)
    slim.body = body
    return slim


def dedented(lines: list[str], node: Definition) -> str | None:
    """Dedented text of a definition; None if its meaning changes there or it does not compile."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    block = lines[first - 1 : node.end_lineno]
    margin = block[0][: len(block[0]) - len(block[0].lstrip())]
    source = "\n".join(line.removeprefix(margin) for line in block) + "\n"
    try:
        compile(source, "<function>", "exec", dont_inherit=True)
        # a multi-line string changes with its margin: fine for a docstring, which is cleaned before it is read
        if margin and _constants(ast.parse(source)) != _constants(node):
            return None
    except (SyntaxError, ValueError, RecursionError):
        return None
    return source


def _constants(root: ast.AST) -> list[str]:
    docstrings = set()
    constants = []
    for node in ast.walk(root):
        if isinstance(node, ast.Constant):
            constants.append(node)
        elif isinstance(node, Definition) and body_without_docstring(node) is not node.body:
            docstrings.add(id(getattr(node.body[0], "value", None)))
    return [repr(c.value) for c in constants if id(c) not in docstrings]


def read_module(data: bytes, path: PurePosixPath, package: str, license: str) -> Iterator[Module]:
    """Yield the module of a file; nothing if its encoding is wrong."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return
    yield Module(package, path, text, license)


def _names(module: Module) -> Names | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(module.text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    names = Names(tree, module.text.split("\n"))
    for node, nested in _top_level(tree.body):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            names.by_name.pop(node.target.id, None)  # no constant
        for name, definition in _defined(node, names.lines, module):
            if name == "*" and isinstance(definition, Link):
                names.stars.append(definition.module)
            elif not (nested and name in names.by_name):  # in `try` and `if` the first counts, outside the last
                names.by_name[name] = definition
    return names


def _top_level(body: list[ast.stmt], nested: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level(node.body + node.orelse, True)
        elif isinstance(node, ast.Try):
            yield from _top_level(node.body + [s for h in node.handlers for s in h.body] + node.orelse, True)
        else:
            yield node, nested


def _defined(node: ast.stmt, lines: list[str], module: Module) -> Iterator[tuple[str, Code | Link | Definition]]:
    match node:
        case ast.Import(names=aliases):
            for a in aliases:
                if a.name.split(".")[0] in STDLIB:
                    text = f"import {a.name} as {a.asname}\n" if a.asname else f"import {a.name}\n"
                    yield a.asname or a.name.split(".")[0], Code(text, is_import=True)
        case ast.ImportFrom(names=aliases):
            source = _absolute(node, module)
            ours = node.level > 0 or source.split(".")[0] == module.dotted.split(".")[0]
            for a in aliases:
                if ours and not module.importable:
                    yield a.asname or a.name, Link(source, a.name)
                elif source.split(".")[0] in STDLIB and a.name != "*":
                    alias = f" as {a.asname}" if a.asname else ""
                    yield a.asname or a.name, Code(f"from {source} import {a.name}{alias}\n", is_import=True)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            text = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) + "\n"
            if len(text) <= MAX_CONSTANT and _parses(text):
                yield name, Code(text)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.dotted.split(".")
    if module.path.name != "__init__.py":
        parts = parts[:-1]
    parents = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _parses(text: str) -> bool:
    try:
        return len(ast.parse(text).body) == 1
    except SyntaxError:
        return False


def _without_docstring(source: str) -> str:
    """Remove the docstring of a helper, unless other code shares its lines."""
    node = ast.parse(source).body[0]
    assert isinstance(node, Definition)
    body = body_without_docstring(node)
    if body is node.body or not body:
        return source
    lines, docstring = source.split("\n"), node.body[0]
    before = lines[docstring.lineno - 1][: docstring.col_offset]
    if before.strip() or body[0].lineno <= (docstring.end_lineno or 0):
        return source
    return "\n".join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno or 0 :])
