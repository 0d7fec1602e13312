"""A copy of a whole project that costs nothing: an overlay over its folder, at the folder's own path.

A run writes to a small file system in memory, which is thrown away with it, so nothing can leak from one run to the
next.  Paths into the project (an environment inside it, an editable install) lead to the copy.
See mount_namespaces(7) and https://docs.kernel.org/filesystems/overlayfs.html.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from kelp.execution.worker import protection

_CACHES = (".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".coverage", ".cache", ".benchmarks", ".git")
# Files that Python and pytest read unasked wherever they find them.
_IMPLICIT = frozenset(
    "conftest.py pytest.ini .pytest.ini pytest.toml pyproject.toml tox.ini setup.cfg sitecustomize.py usercustomize.py "
    "pytest.py unittest.py".split()
)
_MAX_ENTRIES = 100_000  # that a run may write and still be examined


class ProjectCopy:
    """Disk that a run writes to, and the project's files that it changes; for the process that starts the runs.

    `root` is the project, `folder` a folder of the sandbox with an empty `work`, which becomes the run's home.
    """

    def __init__(self, root: str, folder: str, disk_mb: int):
        self.root, self.folder, self.disk_mb = root, folder, disk_mb
        self.disk = os.path.join(folder, "disk")
        os.mkdir(self.disk, 0o700)

    def begin(self) -> None:
        """Mount an empty disk.  Raises OSError."""
        protection.mount_disk(self.disk, self.disk_mb)
        for name in ("upper", "work", "home", "shm"):
            os.mkdir(os.path.join(self.disk, name), 0o700)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            protection.unmount(self.disk)

    def enter(self, files: Mapping[str, bytes]) -> list[str]:
        """Enter the copy, with these sources of files; in the run's process, before it is confined.

        Returns the folders that may be written to.  Raises OSError.
        """
        if not protection.own_mounts():
            raise OSError(0, "no mount namespace")
        root, disk = os.open(self.root, os.O_PATH), os.open(self.disk, os.O_PATH)
        below, inside = f"/proc/self/fd/{root}", f"/proc/self/fd/{disk}"  # names need no escaping then
        before = os.stat(self.root).st_dev
        options = f"userxattr,lowerdir={below},upperdir={inside}/upper,workdir={inside}/work"
        protection.mount("overlay", self.root, "overlay", protection.MS_NOSUID | protection.MS_NODEV, options)
        for place in (self.root, *map(os.path.dirname, files)):
            if os.stat(place).st_dev == before:
                raise OSError(0, "the file is not in the copy", place)
        home = os.path.join(self.folder, "work")
        os.makedirs(home, 0o700, exist_ok=True)  # it is in the project's copy where the sandbox's folder is
        protection.mount(f"{inside}/home", home, None, protection.MS_BIND)
        writable = [self.root, home]
        if os.path.isdir("/dev/shm") and not f"{self.root}/".startswith("/dev/shm/"):
            protection.mount(f"{inside}/shm", "/dev/shm", None, protection.MS_BIND)  # locks of multiprocessing
            writable.append("/dev/shm")
        for path, source in files.items():
            _replace(path, source)
        return writable

    def changed(self, files: Mapping[str, bytes]) -> list[str]:
        """Files of the project that a run overwrote or removed, and new ones that Python or pytest read unasked.

        Files under repair do not count if they hold their sources; nor do caches.
        """
        try:
            return self._changed(files)
        except (OSError, RecursionError) as error:
            return [f"(cannot be read: {error.strerror if isinstance(error, OSError) else error})"]

    def _changed(self, files: Mapping[str, bytes]) -> list[str]:
        ours = {*files, *(str(compiled) for path in files for compiled in _compiled(path))}
        changed = []
        for path, entry in self._written():
            name = os.path.relpath(path, self.root)
            if path in files:
                if not entry.is_file(follow_symlinks=False) or Path(entry.path).read_bytes() != files[path]:
                    changed.append(name)
            elif path not in ours and (
                _is_opaque(entry) if _is_folder(entry) else entry.name in _IMPLICIT or os.path.lexists(path)
            ):
                changed.append(name)
        return sorted(changed)

    def _written(self) -> list[tuple[str, os.DirEntry[str]]]:
        """Every entry on the disk of the project's copy, with its path in the project."""
        entries = []
        left = [(os.path.join(self.disk, "upper"), self.root)]
        while left:
            folder, path = left.pop()
            for entry in os.scandir(folder):
                if entry.name.startswith(_CACHES):
                    continue
                here = os.path.join(path, entry.name)
                entries.append((here, entry))
                if _is_folder(entry):
                    os.chmod(entry.path, 0o700)
                    left.append((entry.path, here))
            if len(entries) > _MAX_ENTRIES:
                raise OSError(0, "more files than can be examined")
        return entries


def _replace(path: str, source: bytes) -> None:
    """Write a file of the copy, and remove its bytecode.  Raises OSError."""
    old = os.stat(path)
    try:
        with open(path, "r+b") as file:
            file.truncate()
            file.write(source)
    except OSError as error:
        if error.errno == errno.EOVERFLOW:  # its owner is unknown in the user namespace
            raise OSError(error.errno, "this or its folder is of another user or group", path) from None
        raise
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 2 * 10**9))
    for compiled in _compiled(path):  # its recorded time and size may be those of the source
        compiled.unlink()


def _compiled(module: str) -> list[Path]:
    folder, name = os.path.split(module)
    return [*Path(folder, "__pycache__").glob(f"{Path(name).stem}.*.pyc")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_opaque(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder was removed and made again: it hides the project's own."""
    for kind in ("user", "trusted"):
        with contextlib.suppress(OSError):
            return os.getxattr(entry.path, f"{kind}.overlay.opaque") == b"y"
    return False
