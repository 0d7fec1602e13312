"""Folders of a suite: those of its project, those that its runs may read, and those that they work in."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable

from kelp.execution.worker.protocol import Config

ROOT_MARKS = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")
SITES = ("site-packages", "dist-packages")  # the names of folders that libraries are installed in
_INSTALLED = [path for path in sys.path if os.path.basename(path) in SITES]  # the user's, and others' by a .pth file
LIBRARIES = tuple(
    os.path.join(path, "")
    for path in dict.fromkeys([*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), *_INSTALLED])
)
WORKER = os.path.join(os.path.dirname(__file__), "")


def package_root(path: str) -> str:
    """The folder from which the file is imported: the first one up that is no package."""
    folder = os.path.dirname(path)
    while os.path.exists(os.path.join(folder, "__init__.py")) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder


def project_root(path: str) -> str:
    """Root of the file's project: the first folder up with a project's mark, or else the file's own."""
    folder = root = os.path.dirname(path)
    while not any(os.path.exists(os.path.join(root, mark)) for mark in ROOT_MARKS):
        if root == os.path.dirname(root):
            return folder
        root = os.path.dirname(root)
    return root


def holds_home(folder: str, home: str) -> bool:
    """Return whether the folder is the home folder or above it, and so no project, whatever marks it has."""
    return os.path.join(os.path.realpath(home), "").startswith(os.path.join(os.path.realpath(folder), ""))


def files_of(config: Config) -> list[str]:
    """The test files and the program's."""
    return [*config["pytest_files"], *([config["module"]] if config["module"] else [])]


def project_folders(config: Config) -> list[str]:
    """The project's root or, without one, the folders of the program, its tests and their neighbors."""
    if config["plan"] is not None:
        return [config["plan"]["root"]]
    files = files_of(config)
    folders = [project_root(file) for file in files] + [package_root(file) for file in files]
    common = os.path.commonpath(folders) if folders else ""
    beside = [common] if common in map(os.path.dirname, folders) and common != os.sep else []  # src/ and tests/
    return list(dict.fromkeys(folders + beside))


def readable_paths(config: Config) -> tuple[list[str], list[str]]:
    """Return the paths that a run may read, and the folders that it may only list.

    In the home folder, which holds keys, only files and packages that are not hidden can be read.
    """
    more = [*config["pythonpath"], *filter(None, sys.path), *LIBRARIES, WORKER, *_editable()]
    more += [sys.prefix, sys.base_prefix, sys.exec_prefix, *map(os.path.realpath, files_of(config))]  # behind links
    readable, listed = outside_home(project_folders(config) + list(filter(os.path.exists, more)), config["home"])
    if (plan := config["plan"]) is not None:
        readable, listed = [*readable, *plan["readable"]], [*listed, *plan["listed"]]
    return readable, listed


def outside_home(folders: Iterable[str], home: str) -> tuple[list[str], list[str]]:
    """Return the paths to read and the folders to list, in which of the home folder nothing hidden can be read."""
    folders = list(folders)
    listed = [folder for folder in folders if holds_home(folder, home)]
    entries = [entry for folder in listed for entry in os.scandir(folder) if not entry.name.startswith(".")]
    entries = [entry for entry in entries if not entry.is_symlink()]  # they may lead to hidden files
    inside = [entry.path for entry in entries if entry.is_file() or os.path.exists(f"{entry.path}/__init__.py")]
    return [folder for folder in folders if folder not in listed] + inside, listed


def _editable() -> list[str]:
    """Paths of packages that are installed as links to their source, by an import hook of setuptools."""
    hooks = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("__editable___")]
    paths = [path for names in hooks for path in names.get("MAPPING", {}).values()]
    paths += [path for names in hooks for several in names.get("NAMESPACES", {}).values() for path in several]
    return [*paths, *(f"{path}.py" for path in paths)]


def prefixes(readable: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of the files that a run may read, by the given names and by their real ones."""
    names = dict.fromkeys(name for path in readable for name in (path, os.path.realpath(path)))
    return tuple(name if name.endswith(".py") else os.path.join(name, "") for name in names)


def work_folders(config: Config) -> list[str]:
    """Folders in which a person may run the tests: where Kelp runs, and from the project's root down to the files."""
    found = [config["folder"]]
    for file in files_of(config):
        folder, root = os.path.dirname(file), project_root(file)
        while folder.startswith(root) and folder != os.path.dirname(folder):
            found.insert(1, folder)
            folder = os.path.dirname(folder)
    return list(dict.fromkeys(found))


def work_folder(config: Config, writable: Iterable[str]) -> str:
    """The folder in which tests run: the caller's, if it can be written to, else the project's root."""
    beneath = tuple(os.path.join(place, "") for place in writable)
    for folder in (config["folder"], *map(project_root, files_of(config))):
        if os.path.join(os.path.realpath(folder), "").startswith(beneath) and os.path.isdir(folder):
            return folder
    return config["scratch"]


def import_path(config: Config, *, of_suite: bool) -> list[str]:
    """Import path: the folders of the module and the tests as when run by hand, around the interpreter's own.

    `of_suite`: the suite's own tests run, and not asserts for a bare module.
    """
    front: list[str] = []
    back: list[str] = []
    if config["module"] and of_suite:
        front.append(package_root(config["module"]))
        back.append(os.path.dirname(config["module"]))  # last, so that a package's `types.py` hides nothing
    for file in config["pytest_files"]:
        folder, root = os.path.dirname(file), project_root(file)
        back += [folder, root, os.path.join(root, "src")]
    return list(dict.fromkeys([*front, *config["pythonpath"], *sys.path, *back]))
