"""Keep the functions we are measured on, and near copies of them, out of the training data.

A function is compared by its *normal form*: its syntax tree without docstring and annotations, own names
numbered, printed in one way. Two functions of one normal form are the same function renamed or reformatted.
Near copies are found by the share of the excluded function's token 8-grams (taken from its normal form, own
names numbered within each gram, so that a statement more or less does not shift all of them) that a function has.

What is excluded is kept as hashes, so the repository ships `excluded.jsonl.gz`, which no benchmark can be read
back from, and decontamination runs on every machine. To write it anew:

    python -c "from kelp.data.decontaminate import *; write_shipped(Path('mbpp.jsonl'), Path('HumanEval.jsonl.gz'))"
"""

import ast
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kelp.data import toy
from kelp.data.record import FunctionNode, body_without_docstring, json_lines

GRAM = 8  # tokens a gram
SKETCH = 64  # grams kept of an excluded function: those with the smallest hashes, a fair sample of all of them
MIN_TOKENS = 20  # shorter functions share their grams with everything; the normal form is what finds those
OVERLAP = 0.5  # share of an excluded function's grams that makes a near copy ...
OVERLAP_SAME_HEADER = 0.25  # ... and the share that does when name and number of parameters agree as well
MBPP_TRAIN = range(601, 975)  # the only MBPP tasks that may be trained on

SHIPPED = Path(__file__).with_name("excluded.jsonl.gz")

_TOKEN = re.compile(
    r"""(?P<own>_v\d+_) | \w+ | [rbfu]*(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""| [-+*/%&|^<>=!@:~]+ | \S""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of one function: all of it hashes."""

    label: str
    form: int  # 64 bits of the normal form
    header: int  # 32 bits of name and number of parameters
    tokens: int  # length of the normal form
    grams: frozenset[int]  # 32 bits a gram


@dataclass(frozen=True)
class Match:
    label: str  # the excluded function
    reason: str  # "same normal form", "near copy" or "same header"


class Excluded:
    """A set of functions that must not be trained on."""

    def __init__(self, fingerprints: Iterable[Fingerprint]):
        self.fingerprints = tuple(_sketch(f) for f in fingerprints)

    def __add__(self, other: "Excluded") -> "Excluded":
        return Excluded(self.fingerprints + other.fingerprints)

    @cached_property
    def _forms(self) -> dict[int, str]:
        return {f.form: f.label for f in reversed(self.fingerprints)}

    @cached_property
    def _by_gram(self) -> dict[int, list[int]]:
        index: dict[int, list[int]] = {}
        for number, f in enumerate(self.fingerprints):
            for gram in f.grams:
                index.setdefault(gram, []).append(number)
        return index

    def match(self, candidate: Fingerprint) -> Match | None:
        """The excluded function that `candidate` is a copy of, if any."""
        if candidate.form in self._forms:
            return Match(self._forms[candidate.form], "same normal form")
        shared = Counter(n for gram in candidate.grams for n in self._by_gram.get(gram, ()))
        for number, count in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
            f = self.fingerprints[number]
            overlap = count / len(f.grams)
            if overlap >= OVERLAP and f.tokens >= MIN_TOKENS:
                return Match(f.label, "near copy")
            if overlap >= OVERLAP_SAME_HEADER and f.header == candidate.header:
                return Match(f.label, "same header")
        return None


def fingerprint(source: str, label: str = "") -> Fingerprint:
    """Of the source of one function."""
    function = ast.parse(source).body[0]
    if not isinstance(function, FunctionNode):
        raise ValueError(f"not a function: {source[:60]!r}")
    header = f"{function.name}/{len(_parameters(function))}"
    form = _normalised(function)
    tokens = [(m.group(), m.lastgroup == "own") for m in _TOKEN.finditer(form)]
    grams = frozenset(_hash(_gram(tokens[i : i + GRAM]), 4) for i in range(len(tokens) - GRAM + 1))
    return Fingerprint(label, _hash(form, 8), _hash(header, 4), len(tokens), grams)


def _normalised(function: FunctionNode) -> str:
    """The function printed without docstrings, annotations, comments and layout, its own names numbered.

    Changes the tree.
    """
    own = {name: f"_v{i}_" for i, name in enumerate(dict.fromkeys(_bound_names(function)))}
    return ast.unparse(_Normaliser(own).visit(function))


def excluded_source(source: str, label: str) -> Iterator[Fingerprint]:
    """Every function of a program, nested ones and methods too; none where it does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            yield fingerprint(ast.unparse(node), label)


def mbpp(path: Path) -> Excluded:
    """All MBPP tasks but those for training (`MBPP_TRAIN`)."""
    return Excluded(
        f
        for task in json_lines(path)
        if task["task_id"] not in MBPP_TRAIN
        for f in excluded_source(task["code"].replace("\r\n", "\n"), f"mbpp/{task['task_id']}")
    )


def human_eval(path: Path) -> Excluded:
    return Excluded(
        f
        for task in json_lines(path)
        for f in excluded_source(task["prompt"] + task["canonical_solution"], task["task_id"])
    )


def directory(path: Path) -> Excluded:
    """Every function under a folder, such as the repository's examples."""
    return Excluded(
        f for file in sorted(path.rglob("*.py")) for f in excluded_source(file.read_text(), str(file.relative_to(path)))
    )


def toy_tasks() -> Excluded:
    return Excluded(f for task in toy.TASKS for f in excluded_source(task.source, f"toy/{task.name}"))


def shipped() -> Excluded:
    """MBPP and HumanEval from the hashes in the repository, and the toy tasks."""
    rows = json_lines(SHIPPED)
    return Excluded(Fingerprint(**{**row, "grams": frozenset(row["grams"])}) for row in rows) + toy_tasks()


def write_shipped(mbpp_path: Path, human_eval_path: Path, path: Path = SHIPPED) -> None:
    rows = [{**vars(f), "grams": sorted(f.grams)} for f in (mbpp(mbpp_path) + human_eval(human_eval_path)).fingerprints]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _sketch(f: Fingerprint) -> Fingerprint:
    return Fingerprint(f.label, f.form, f.header, f.tokens, frozenset(sorted(f.grams)[:SKETCH]))


def _hash(text: str, size: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest(), "big")


def _gram(tokens: list[tuple[str, bool]]) -> str:
    numbers: dict[str, str] = {}
    return " ".join(numbers.setdefault(text, f"_{len(numbers)}") if own else text for text, own in tokens)


def _parameters(function: FunctionNode) -> list[ast.arg]:
    a = function.args
    return [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]


def _bound_names(function: FunctionNode) -> Iterator[str]:
    """Names that belong to the function: its own, parameters, targets, imports; in order of first appearance."""
    foreign = {n for node in ast.walk(function) if isinstance(node, ast.Global) for n in node.names}
    for node in _preorder(function):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.arg(arg=name):
                names = [name]
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names = [name]
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names = [name]
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names = [a.asname for a in aliases if a.asname]
            case _:
                names = []
        yield from (n for n in names if n not in foreign)


def _preorder(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _preorder(child)


class _Normaliser(ast.NodeTransformer):
    def __init__(self, own: dict[str, str]):
        self.own = own

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("name", "arg", "id"):
            value = getattr(node, field, None)
            # what a keyword argument is called is up to the callee, what an import is called to the module
            if isinstance(value, str) and not isinstance(node, ast.keyword | ast.alias):
                setattr(node, field, self.own.get(value, value))
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
        if isinstance(node, FunctionNode | ast.ClassDef):
            node.body = body_without_docstring(node) or [ast.Pass()]
        if isinstance(node, ast.alias) and node.asname:
            node.asname = self.own.get(node.asname, node.asname)
        if isinstance(node, ast.Nonlocal):
            node.names = [self.own.get(n, n) for n in node.names]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return ast.Pass()
        return ast.copy_location(ast.Assign([node.target], node.value), node)
