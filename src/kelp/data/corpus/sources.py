"""Sources of functions. A source is named "kind:rest"; each kind is one function that yields Records.

`expand` splits a source into units of work (a package, a file of a data set), and `read` yields the functions of one.
Nothing is imported or executed.
"""

import email
import email.message
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

from kelp.data import toy
from kelp.data.corpus import decontaminate
from kelp.data.corpus.context import Module, read_module
from kelp.data.corpus.extract import Dropped, functions_of
from kelp.data.corpus.history import changes
from kelp.data.record import DataError, Record, json_lines
from kelp.files import atomic
from kelp.rows import PROJECT, TEXT, matching, open_dataset, read_rows

PACKAGES = Path.home() / ".cache/kelp/packages"  # download cache
INDEX = "https://pypi.org/simple"
RELEASES = 16  # releases of a package whose history is read
MAX_RELEASE = 4_000_000  # bytes per release
SKIPPED_FOLDERS = frozenset(
    "test tests testing idle_test site-packages dist-packages _vendor vendor vendored _bundled turtledemo pydoc_data "
    "benchmarks docs examples __pycache__".split()
)
SKIPPED_FILES = ("test_", "conftest", "_version")
Found = Iterator[Record | Dropped]


@dataclass(frozen=True)
class Columns:
    """Columns of a data set whose rows are Python files."""

    text: str = ""  # column of the text; "": the first column of TEXT that exists
    contents: str = "s3://softwareheritage/content"  # location of files named by blob_id alone (Stack-Edu)


PATH = ("path", "max_stars_repo_path", "file_path", "filename")
LICENSE = ("detected_licenses", "license", "licenses", "licence", "max_stars_repo_licenses")


# The one table of kinds of source: how to read a unit, given what follows its colon.
READERS: dict[str, Callable[[str, Columns], Iterable[Record | Dropped]]] = {
    "toy": lambda rest, columns: toy.TRAIN,
    "stdlib": lambda rest, columns: stdlib(),
    "dir": lambda rest, columns: directory(Path(rest)),
    "quine": lambda rest, columns: quine(Path(rest)),
    "package": lambda rest, columns: package(rest),
    "history": lambda rest, columns: history(rest),
    "mbpp": lambda rest, columns: mbpp_train(Path(rest)),
    "files": lambda rest, columns: _functions_of_rows(read_rows(rest), columns),
    "hf": lambda rest, columns: _functions_of_rows(_rows_of_dataset(rest), columns),
}


def expand(source: str, columns: Columns = Columns()) -> list[str]:
    """Units of a source, themselves sources. Raises KelpError if there is no such source."""
    kind, _, rest = source.partition(":")
    match kind:
        case "list":
            return [unit for each in _listed(Path(rest)) for unit in expand(each, columns)]
        case "history" if rest.endswith(".toml"):
            listed = (unit.partition(":") for unit in expand(f"list:{rest}"))
            return [f"history:{requirement}" for kind, _, requirement in listed if kind == "package"]
        case "files" if "#" not in rest:
            return [f"files:{path}" for path in matching(rest)]
        case "hf" if "#" not in rest:
            count = open_dataset(rest, streaming=True).num_shards
            return [f"hf:{rest}#{index}/{count}" for index in range(count)]
        case "quine":
            return [f"quine:{rest or '.'}"]
        case _ if kind in READERS:
            return [source]
    raise DataError(
        f"{source!r} is no source: sources are toy, quine[:PATH], stdlib, dir:PATH, package:NAME[==VERSION], "
        "list:FILE.toml, history:NAME[==VERSION], history:FILE.toml, files:GLOB, hf:NAME[/CONFIG] and mbpp:FILE"
    )


def read(unit: str, columns: Columns = Columns()) -> Found:
    """Functions of one unit. Raises KelpError if it cannot be read."""
    kind, _, rest = unit.partition(":")
    try:
        yield from READERS[kind](rest, columns)
    except ImportError as error:  # fsspec's message says what to install for a kind of URL
        raise DataError(f"{unit} cannot be read: {error}") from None
    except OSError as error:
        raise DataError(f"{unit} cannot be read: {error.strerror or error}") from None


# Folders and packages


def stdlib() -> Found:
    """Standard library of the running interpreter, without its tests."""
    version = ".".join(map(str, sys.version_info[:3]))
    modules = _modules(Path(sysconfig.get_path("stdlib")), f"python-{version}", "PSF-2.0")
    return functions_of([replace(m, importable=True) for m in modules], "python")


def directory(path: Path) -> Found:
    """Every .py file under a folder, without tests and vendored code."""
    if not path.is_dir():
        raise DataError(f"dir:{path}: there is no such folder")
    path = path.resolve()
    return functions_of(_modules(path, path.name), path.name)


def quine(path: Path) -> Found:
    """Every .py file that git tracks below a folder."""
    command = ["git", "-C", str(path), "ls-files", "-z", "--", "*.py"]
    listed = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape")
    if listed.returncode:
        raise DataError(f"quine:{path} is no git checkout: {' '.join(listed.stderr.split())}")
    files = sorted(file for name in listed.stdout.split("\0") if name and (file := path / name).is_file())
    name = path.resolve().name
    return functions_of(_modules(path, name, files=files), name)


def package(requirement: str) -> Found:
    """Package as pinned ("toolz==1.2.0"): the installed one if its version matches, else a wheel or sdist from PyPI.

    "sympy==1.14.0 sympy/ntheory sympy/utilities" takes the files under those folders only.
    """
    requirement, *only = requirement.split() or [""]
    name, _, version = requirement.partition("==")
    unpacked = _installed(name, version) or _unpacked(_download(requirement))
    return functions_of(_modules_of(f"{name}-{unpacked[1]['Version']}", only, unpacked), name)


def history(requirement: str) -> Found:
    """Changes in the last `RELEASES` releases of a package up to the one pinned ("toolz==1.2.0").

    "toolz==1.2.0 releases=40" takes more. Releases larger than `MAX_RELEASE` bytes and unreadable archives are skipped.
    """
    requirement, *only = requirement.split() or [""]
    count = next((part.removeprefix("releases=") for part in only if part.startswith("releases=")), str(RELEASES))
    if not count.isdecimal() or int(count) < 1:
        raise DataError(f"history:{requirement} releases={count}: that is no number of releases")
    name, _, pinned = requirement.partition("==")
    try:
        listed = {version: file for version, file in _releases(name).items() if not file.get("yanked")}
        last = _chosen(listed, pinned)
        versions = [v for v in listed if v <= last and not v.is_prerelease][-int(count) :]
        files = {v: _fetch(listed[v]) for v in versions if (listed[v].get("size") or 0) <= MAX_RELEASE}
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(f"history:{requirement} cannot be downloaded from PyPI: {error}") from None
    folders = [part for part in only if not part.startswith("releases=")]
    return changes(_read_releases(name, folders, files), name)


def _read_releases(name: str, folders: Sequence[str], files: Mapping[Any, Path]) -> Iterator[list[Module]]:
    for version, file in files.items():
        try:
            unpacked = _unpacked(file)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError):
            continue
        yield _modules_of(f"{name}-{version}", folders, unpacked)


def _modules_of(package: str, only: Sequence[str], unpacked: "_Unpacked") -> list[Module]:
    """Modules of a distribution, or only those under some of its folders."""
    files, metadata = unpacked
    return [
        module
        for path, data in sorted(files)
        if not _skipped(path) and (not only or any(path.is_relative_to(folder) for folder in only))
        for module in read_module(data, path, package, _license(metadata))
    ]


def mbpp_train(path: Path) -> Found:
    """MBPP tasks that may be trained on, with their asserts."""
    for task in json_lines(path):
        if task["task_id"] not in decontaminate.MBPP_TRAIN or task["test_setup_code"]:
            continue
        code = task["code"].replace("\r\n", "\n").replace("\r", "\n")
        module = Module(f"mbpp-{task['task_id']}", PurePosixPath("task.py"), code, "CC-BY-4.0")
        asserts = tuple(line.strip() for line in task["test_list"])
        for found in functions_of([module], "mbpp"):
            if isinstance(found, Dropped):
                yield found
            elif found.context is not None and all(re.search(rf"\b{found.name}\b", line) for line in asserts):
                yield replace(found, intent=task["text"], asserts=asserts, split="train")


def _listed(path: Path) -> list[str]:
    """Sources of a TOML file: `packages` (requirements) and `sources` (any)."""
    try:
        lists = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"list:{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    unknown = lists.keys() - {"packages", "sources"}
    if unknown or not lists:
        raise DataError(
            f"list:{path} holds {', '.join(sorted(unknown)) or 'nothing'}; its keys can be packages and sources"
        )
    return [*lists.get("sources", []), *(f"package:{requirement}" for requirement in lists.get("packages", []))]


def _modules(folder: Path, name: str, license: str = "", files: Iterable[Path] | None = None) -> list[Module]:
    modules: list[Module] = []
    for file in sorted(folder.rglob("*.py")) if files is None else files:
        relative = PurePosixPath(file.relative_to(folder).as_posix())
        if not _skipped(relative):
            modules += read_module(file.read_bytes(), relative, name, license)
    return modules


def _skipped(path: PurePosixPath) -> bool:
    return bool(SKIPPED_FOLDERS.intersection(path.parts[:-1])) or path.name.startswith(SKIPPED_FILES)


_Unpacked = tuple[list[tuple[PurePosixPath, bytes]], email.message.Message]


def _installed(name: str, version: str) -> _Unpacked | None:
    """Files of the installed distribution; None if this version is not installed."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if version and found.version != version:
        return None
    paths = [f for f in found.files or [] if f.suffix == ".py" and ".." not in f.parts]
    files = [(PurePosixPath(f), Path(str(f.locate())).read_bytes()) for f in paths]
    return files, email.message_from_string(found.read_text("METADATA") or "")


def _download(requirement: str) -> Path:
    """Archive of a requirement, from the cache if it is there.

    It is fetched as a file from the index (PEP 691): pip would run the build script of a source distribution.
    """
    name, _, version = requirement.partition("==")
    if version and (found := _cached(name, version)):
        return found
    try:
        releases = _releases(name)
        return _fetch(releases[_chosen(releases, version)])
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(f"package:{requirement} cannot be downloaded from PyPI: {error}") from None


def _chosen(releases: Mapping[Any, dict[str, Any]], pinned: str) -> Any:
    """Pinned version, else the newest that is neither yanked nor a pre-release. Raises ValueError."""
    from packaging.version import Version

    if pinned:
        if Version(pinned) not in releases:
            raise ValueError(f"it has no wheel and no .tar.gz of {pinned}")
        return Version(pinned)
    offered = [version for version, file in releases.items() if not file.get("yanked")]
    if not offered:
        raise ValueError("it has neither a wheel nor a .tar.gz")
    return max([version for version in offered if not version.is_prerelease] or offered)


def _cached(name: str, version: str) -> Path | None:
    wanted = [_canonical(part) for part in (name, version)]
    for file in sorted(PACKAGES.glob("*"), key=lambda f: (f.suffix != ".whl", f.name)):
        if file.suffix == ".whl" and [_canonical(part) for part in file.name.split("-")[:2]] == wanted:
            return file
        if _canonical(file.name) == _canonical(f"{name}-{version}.tar.gz"):
            return file
    return None


def _releases(name: str) -> dict[Any, dict[str, Any]]:
    """Archives of a package by version: a pure wheel, else the sdist, else another wheel."""
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    request = urllib.request.Request(f"{INDEX}/{_canonical(name)}/", headers=accept)
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = [file | {"url": urllib.parse.urljoin(answer.url, file["url"])} for file in json.load(answer)["files"]]
    found: dict[Any, tuple[int, str, dict[str, Any]]] = {}
    for file in files:
        filename = file["filename"]
        with suppress(ValueError):  # a file name that no standard allows
            if filename.endswith(".whl"):
                version = parse_wheel_filename(filename)[1]
                rank = 0 if re.search(r"py3[^-]*-none-any\.whl$", filename) else 2
            elif filename.endswith(".tar.gz"):
                version, rank = parse_sdist_filename(filename)[1], 1
            else:
                continue
            found[version] = min([(rank, filename, file), *([found[version]] if version in found else [])])
    return {version: file for version, (_, _, file) in sorted(found.items())}


def _fetch(file: dict[str, Any]) -> Path:
    """Download a file that the index lists; from the cache if it is there."""
    path = PACKAGES / file["filename"]
    if path.exists():
        return path
    with urllib.request.urlopen(file["url"], timeout=300) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != file["hashes"]["sha256"]:
        raise ValueError("its checksum is wrong")
    PACKAGES.mkdir(parents=True, exist_ok=True)
    with atomic(path) as new:  # others may fetch it at the same time
        new.write_bytes(data)
    return path


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _unpacked(file: Path) -> _Unpacked:
    """Python files and metadata of a wheel or sdist, read without unpacking it to disk."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            members = {n: archive.read(n) for n in archive.namelist() if n.endswith((".py", ".dist-info/METADATA"))}
    else:
        with tarfile.open(file) as archive:
            wanted = (m for m in archive if m.isfile() and m.name.endswith((".py", "/PKG-INFO")))
            members = {m.name: archive.extractfile(m).read() for m in wanted}  # type: ignore[union-attr]
        members = {re.sub(r"^[^/]+/(src/)?", "", name): data for name, data in members.items()}
    metadata = min((n for n in members if re.search(r"(^|/)(METADATA|PKG-INFO)$", n)), key=len, default="")
    files = [(PurePosixPath(n), data) for n, data in members.items() if n.endswith(".py")]
    return files, email.message_from_bytes(members.get(metadata, b""))


def _license(metadata: email.message.Message) -> str:
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    text = metadata["License-Expression"] or (classifiers[0] if classifiers else metadata["License"] or "")
    return " ".join(text.split())[:60]


# Data sets: rows that each hold one Python file


def _functions_of_rows(rows: Iterable[dict[str, Any]], columns: Columns) -> Found:
    """Functions of each row's file, with the rest of that file as context."""
    for number, row in enumerate(rows):
        data = _text(row, columns)
        project = str(_first(row, PROJECT) or "unknown")
        path = PurePosixPath(str(_first(row, PATH) or f"{number}.py"))
        license = _first(row, LICENSE) or ""
        license = license if isinstance(license, str) else ", ".join(license)
        for module in read_module(data, path, project, license):
            yield from functions_of([module], project)


def _text(row: dict[str, Any], columns: Columns) -> bytes:
    name = columns.text or next((c for c in TEXT if c in row), "")
    if name in row:
        return str(row[name] or "").encode("utf-8", "surrogatepass")
    if "blob_id" not in row:
        wanted = columns.text or " or ".join(TEXT)
        raise DataError(f"no column {wanted} among {', '.join(row)}: name it with --text-column")
    import fsspec

    anonymous = {"anon": True} if columns.contents.startswith("s3://") else {}
    with fsspec.open(f"{columns.contents}/{row['blob_id']}", compression="gzip", **anonymous) as file:
        data = file.read()
    encoding = row.get("src_encoding") or "utf-8"
    try:
        return data.decode(encoding).encode()
    except (LookupError, UnicodeDecodeError):
        return b""


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name)), None)


def _rows_of_dataset(name: str) -> Iterator[dict[str, Any]]:
    name, _, part = name.partition("#")
    index, count = map(int, part.split("/"))
    yield from open_dataset(name, streaming=True).shard(num_shards=count, index=index)
