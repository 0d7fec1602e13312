"""Decontaminate: keep the functions of benchmarks, and near copies of them, out of the training data.

Functions are compared by *normal form*: the syntax tree without docstring and annotations, own names numbered,
printed in one way. Two functions of one normal form are the same function renamed or reformatted. A near copy shares
half of the excluded function's token 8-grams (of its normal form, own names numbered within each gram, so that one
statement more does not shift all of them). A function with the name and number of parameters of a task counts as that
task, and so does one whose docstring holds the task's text.

Exclusions are hashes: the repository ships `excluded.jsonl.gz`, from which no benchmark can be reconstructed, so
decontamination runs on every machine. To write it again:

    python -c "from kelp.data.corpus.decontaminate import write_shipped
    write_shipped('mbpp.jsonl', 'HumanEval.jsonl.gz', 'examples')"
"""

import ast
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kelp.data import toy
from kelp.data.record import FunctionNode, body_without_docstring, json_lines

GRAM = 8  # tokens per gram
SKETCH = 64  # grams kept per excluded function: the smallest hashes, a fair sample
MIN_TOKENS = 20  # shorter functions share their grams with everything; the normal form finds those
OVERLAP = 0.5  # share of an excluded function's grams that makes a near copy
WORDS = 5  # words per gram of a task's text
MIN_WORDS = 7  # shorter texts are too unspecific
MBPP_TRAIN = range(601, 975)  # the only MBPP tasks that may be trained on

SHIPPED = Path(__file__).with_name("excluded.jsonl.gz")

_TOKEN = re.compile(
    r"""(?P<own>_v\d+_) | \w+ | [rbfu]*(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""| [-+*/%&|^<>=!@:~]+ | \S""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Fingerprint:
    """Hashes by which one function is compared."""

    label: str
    form: int  # 64 bits of the normal form
    header: int  # 32 bits of name and number of parameters; 0 if they name no task
    tokens: int  # length of the normal form
    grams: frozenset[int]  # 32 bits per gram
    words: frozenset[int] = frozenset()  # 32 bits per gram of the task's text or docstring


@dataclass(frozen=True)
class Match:
    """An excluded function that a candidate copies, and how."""

    label: str  # the excluded function
    reason: str  # "same normal form", "near copy", "same name and arity" or "same intent"


class Excluded:
    """Set of functions that must not be trained on."""

    def __init__(self, fingerprints: Iterable[Fingerprint]):
        self.fingerprints = tuple(_sketch(f) for f in fingerprints)

    def __add__(self, other: "Excluded") -> "Excluded":
        return Excluded(self.fingerprints + other.fingerprints)

    @cached_property
    def _forms(self) -> dict[int, str]:
        return {f.form: f.label for f in reversed(self.fingerprints)}

    @cached_property
    def _headers(self) -> dict[int, str]:
        return {f.header: f.label for f in reversed(self.fingerprints) if f.header}

    @cached_property
    def _by_gram(self) -> dict[int, list[int]]:
        return _index(f.grams if f.tokens >= MIN_TOKENS else frozenset() for f in self.fingerprints)

    @cached_property
    def _by_words(self) -> dict[int, list[int]]:
        return _index(f.words for f in self.fingerprints)

    def match(self, candidate: Fingerprint) -> Match | None:
        """Excluded function that `candidate` copies, or whose task it does; None if there is none."""
        if candidate.form in self._forms:
            return Match(self._forms[candidate.form], "same normal form")
        if candidate.header in self._headers:
            return Match(self._headers[candidate.header], "same name and arity")
        for reason, part, index in (("near copy", "grams", self._by_gram), ("same intent", "words", self._by_words)):
            shared = Counter(n for gram in getattr(candidate, part) for n in index.get(gram, ()))
            for number, count in sorted(shared.items(), key=lambda item: (-item[1], item[0])):
                if count / len(getattr(self.fingerprints[number], part)) >= OVERLAP:
                    return Match(self.fingerprints[number].label, reason)
        return None


def _index(grams: Iterable[frozenset[int]]) -> dict[int, list[int]]:
    index: dict[int, list[int]] = {}
    for number, each in enumerate(grams):
        for gram in each:
            index.setdefault(gram, []).append(number)
    return index


def fingerprint(source: str, label: str = "", intent: str = "") -> Fingerprint:
    """Fingerprint of one function; the docstring stands in for a missing intent."""
    function = ast.parse(source).body[0]
    if not isinstance(function, FunctionNode):
        raise ValueError(f"not a function: {source[:60]!r}")
    words = _words(intent or ast.get_docstring(function) or "")
    special = function.name.startswith("__") and function.name.endswith("__")
    header = 0 if special else _hash(f"{function.name}/{len(_parameters(function))}", 4)
    form = _normalized(function)
    tokens = [(m.group(), m.lastgroup == "own") for m in _TOKEN.finditer(form)]
    grams = frozenset(_hash(_gram(tokens[i : i + GRAM]), 4) for i in range(len(tokens) - GRAM + 1))
    return Fingerprint(label, _hash(form, 8), header, len(tokens), grams, words)


def _words(text: str) -> frozenset[int]:
    """Hashes of the text's word 5-grams, without the phrases with which every task begins."""
    text = re.sub(r"^\W*write an? (python )?(function|program)( (to|that|which))?", "", text.lower())
    words = re.findall(r"\w+", text)
    if len(words) < MIN_WORDS:
        return frozenset()
    return frozenset(_hash(" ".join(words[i : i + WORDS]), 4) for i in range(len(words) - WORDS + 1))


def _normalized(function: FunctionNode) -> str:
    """Print the function without docstrings, annotations, comments and layout, own names numbered.

    Changes the tree.
    """
    own = {name: f"_v{i}_" for i, name in enumerate(dict.fromkeys(_bound_names(function)))}
    return ast.unparse(_Normalizer(own).visit(function))


def excluded_source(source: str, label: str, intent: str = "") -> Iterator[Fingerprint]:
    """Every function of a program, nested ones and methods included; none if it does not parse.

    Names of top-level functions alone count as names of tasks.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            found = fingerprint(ast.unparse(node), label, intent)
            yield found if node in tree.body else replace(found, header=0)


def task_functions(path: Path) -> Iterator[Fingerprint]:
    """Every function of a file or folder: Python, or JSON lines of benchmark tasks.

    A task gives its text (`text` or `intent`, else the docstring) and its code: `code`, `fixed` and `source`, or
    `prompt` with `canonical_solution`. The MBPP tasks for training (`MBPP_TRAIN`) are skipped. Names of functions in
    Python files do not count as names of tasks.
    """
    if path.is_dir() or path.suffix == ".py":
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            label = f"{path.name}/{file.relative_to(path)}" if path.is_dir() else path.name
            yield from (replace(f, header=0) for f in excluded_source(file.read_text(), label))
    else:
        for number, task in enumerate(json_lines(path), start=1):
            if "test_list" in task and task.get("task_id") in MBPP_TRAIN:
                continue
            name = str(task.get("task_id", task.get("id", number)))
            label = name if "/" in name else f"{path.name.partition('.')[0]}/{name}"
            intent = task.get("text") or task.get("intent") or ""
            codes = [task[key] for key in ("code", "fixed", "source") if key in task]
            codes += [task["prompt"] + task["canonical_solution"]] if "canonical_solution" in task else []
            for code in codes:
                yield from excluded_source(code.replace("\r\n", "\n"), label, intent)


def toy_tasks() -> Excluded:
    return Excluded(f for task in toy.TASKS for f in excluded_source(task.source, f"toy/{task.name}", task.intent))


def shipped() -> Excluded:
    """Exclusions that ship: hashes of MBPP, HumanEval and the repository's examples, and the toy tasks."""
    rows = json_lines(SHIPPED)
    return Excluded(_read(row) for row in rows) + toy_tasks()


def write_shipped(*paths: str | Path, out: Path = SHIPPED) -> None:
    found = (_sketch(f) for path in paths for f in task_functions(Path(path)))
    rows = [{**vars(f), "grams": sorted(f.grams), "words": sorted(f.words)} for f in found]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    out.write_bytes(gzip.compress(text.encode(), mtime=0))


def _read(row: dict[str, Any]) -> Fingerprint:
    return Fingerprint(**{**row, "grams": frozenset(row["grams"]), "words": frozenset(row["words"])})


def _sketch(f: Fingerprint) -> Fingerprint:
    return replace(f, grams=frozenset(sorted(f.grams)[:SKETCH]))


def _hash(text: str, size: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest(), "big")


def _gram(tokens: list[tuple[str, bool]]) -> str:
    numbers: dict[str, str] = {}
    return " ".join(numbers.setdefault(text, f"_{len(numbers)}") if own else text for text, own in tokens)


def _parameters(function: FunctionNode) -> list[ast.arg]:
    a = function.args
    return [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]


def _bound_names(function: FunctionNode) -> Iterator[str]:
    """Names bound by the function (its own, parameters, targets, imports) in order of first appearance."""
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


class _Normalizer(ast.NodeTransformer):
    def __init__(self, own: dict[str, str]):
        self.own = own

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("name", "arg", "id"):
            value = getattr(node, field, None)
            # keyword names are the callee's choice, names of imports the module's
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
