"""Real bug-fix commits: a function in one release of a package and in the next.

Most small changes between consecutive releases fix or complete something, so they show the mistakes that people make
(as commits do in Allamanis et al. 2021, "Self-supervised bug detection and repair"). Changes that the earlier program
could not suggest are excluded: new interfaces, new names, new wording, newer syntax for the same thing, and
changes made all over a package in the same way.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kelp.data.corpus.context import BUILTINS, Library, Module, dedented
from kelp.data.corpus.decontaminate import fingerprint
from kelp.data.corpus.extract import MAX_LINES, split_of
from kelp.data.record import FunctionNode, Record, parse_source
from kelp.diffusion.diff import distance
from kelp.languages.python.docstrings import first_sentence
from kelp.languages.python.names import bound_names, free_names
from kelp.syntax.edits import Edit

MAX_EDITS = 3  # per change
MAX_WORDS = 40  # words and signs that one version has more of than the other
MAX_BYTES = 4000  # per function
SAME = 2  # occurrences of one change in a release; a more frequent change was made everywhere

_WORD = re.compile(r"\w+|[^\w\s]")
_METHODS = frozenset(name for kind in (str, bytes, list, dict, set, tuple, int, float) for name in dir(kind))

# Node kinds that come or go with a change of style: f-strings for `%`, comprehensions for calls, annotations ...
_STYLES = (
    ast.JoinedStr, ast.AnnAssign, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr, ast.Match,
    ast.YieldFrom,
)  # fmt: skip
_FORMAT = re.compile(r"\.format\(|['\"] *%|\b(?:typing|t)\.|\bcast\(")


@dataclass(frozen=True)
class _Place:
    """Function with its place in the file."""

    module: Module
    lines: list[str]
    node: FunctionNode

    @property
    def text(self) -> str:
        return "\n".join(self.lines[self.node.lineno - 1 : self.node.end_lineno])


_Key = tuple[str, int]  # qualified name, index among the functions of that name
_Change = tuple[Record, tuple[tuple[bytes, bytes], ...]]  # (old, new) of each edit


def changes(releases: Iterable[Sequence[Module]], project: str) -> Iterator[Record]:
    """Small changes from each release to the next, as Records with the earlier function as `before`.

    A release is a list of modules; the earliest release comes first.
    """
    earlier: dict[PurePosixPath, tuple[str, dict[_Key, _Place]]] = {}  # by file: its text and its functions
    for modules in releases:
        library = Library(modules)
        now = {}
        found: list[_Change] = []
        for module in modules:
            text, before = earlier.get(module.path, ("", {}))
            places = before if text == module.text else dict(_places(module, library))
            now[module.path] = module.text, places
            for key, place in places.items():
                if key in before and before[key].text != place.text:
                    found += _change(before[key], place, library, project)
        often = Counter(pair for _, pairs in found for pair in set(pairs))
        yield from (record for record, pairs in found if all(often[pair] <= SAME for pair in pairs))
        earlier = now


def context_suffices(record: Record) -> bool:
    """Return whether the later function's context defines every name that the earlier one reads, attributes included.

    If not, the earlier function may fail its tests only because something around it was renamed.
    """
    known = bound_names((record.context or "").encode())
    names = free_names(record.before.encode()) - free_names(record.source.encode())
    if known is not None and not names <= known:
        return False
    [function] = ast.parse(record.before).body
    assert isinstance(function, FunctionNode)
    arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    mentioned = set(_WORD.findall("\n".join([record.source, record.context or "", *record.asserts])))
    return all(
        node.attr in mentioned | _METHODS
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in arguments
    )


def _places(module: Module, library: Library) -> Iterator[tuple[_Key, _Place]]:
    """Functions and methods of a module; none if it does not parse."""
    names = library.names(module)
    if names is None:
        return
    count = Counter[str]()
    stack: list[tuple[str, ast.AST]] = [("", node) for node in reversed(names.tree.body)]
    while stack:
        prefix, node = stack.pop()
        if isinstance(node, FunctionNode):
            name = prefix + node.name
            yield (name, count[name]), _Place(module, names.lines, node)
            count[name] += 1
            continue
        prefix += f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        blocks = [c for c in ast.iter_child_nodes(node) if isinstance(c, ast.stmt | ast.excepthandler)]
        stack.extend((prefix, block) for block in reversed(blocks))


def _change(before: _Place, after: _Place, library: Library, project: str) -> Iterator[_Change]:
    """Yield the Record of a change with the texts of its edits; nothing if the change teaches nothing."""
    words = [Counter(_WORD.findall(place.text)) for place in (before, after)]
    changed = (words[0] - words[1]).total() + (words[1] - words[0]).total()
    if changed > MAX_WORDS or len(after.text) > MAX_BYTES or len(after.text.split("\n")) > MAX_LINES:
        return
    if _interface(before.node) != _interface(after.node) or _wordless(before.node) == _wordless(after.node):
        return
    if _style(before) != _style(after) or not _foreseeable(before, after):
        return
    old, new = dedented(before.lines, before.node), dedented(after.lines, after.node)
    if old is None or new is None or old == new:
        return
    if fingerprint(old).form == fingerprint(new).form:  # renamed
        return
    edits = _edits(old, new)
    if not 0 < len(edits) <= MAX_EDITS:
        return
    name, intent = after.node.name, first_sentence(ast.get_docstring(after.node) or "")
    record = Record(
        new, name, intent, library.context(after.module, new, name), (), after.module.origin, after.module.license,
        project=project, split=split_of(project), before=old,
    )  # fmt: skip
    yield record, tuple((old.encode()[e.start : e.end].strip(), e.text.strip()) for e in edits)


def _edits(old: str, new: str) -> tuple[Edit, ...]:
    try:
        return distance(parse_source(old), parse_source(new))[1]
    except (SyntaxError, RecursionError):
        return ()


def _interface(node: FunctionNode) -> str:
    """Signature, decorators and docstring of a function."""
    outside = [node.args, *node.decorator_list, *([node.returns] if node.returns else [])]
    docstring = ast.get_docstring(node, clean=False) or ""
    return "\n".join([type(node).__name__, docstring, *map(ast.dump, outside)])


def _style(place: _Place) -> tuple[Counter[type], int, int]:
    nodes = Counter(type(node) for node in ast.walk(place.node) if isinstance(node, _STYLES))
    return nodes, len(_FORMAT.findall(place.text)), place.text.count("super()")


def _wordless(node: FunctionNode) -> str:
    """Function with the text of its strings removed."""
    text = ast.dump(node).replace(", kind='u'", "")
    for value in {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str | bytes)}:
        text = text.replace(f"Constant(value={value!r}", "Constant(")
    return text


def _foreseeable(before: _Place, after: _Place) -> bool:
    """Return whether every new name is the function's own, a builtin, a method of one, or in the earlier file."""
    new, own = set[str](), set[str]()
    for node in ast.walk(after.node):
        match node:
            case ast.Name(id=name, ctx=ctx):
                (new if isinstance(ctx, ast.Load) else own).add(name)
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                new.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.arg(arg=name):
                own.add(name)
    mentioned = set(_WORD.findall(before.module.text))
    return new <= own | mentioned | BUILTINS | _METHODS
