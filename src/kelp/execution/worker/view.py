"""File system of the runs: libraries that they cannot write to, and private copies of the project's folders.

The keeper, a process outside of the runs' process namespace, keeps the right to mount. What it mounts below `View.root`
shows in the mount namespace of the server and the runs, which have given up that right and see nothing else.  Folders
are overlays, so that locks, sockets and attributes are the copy's own, never those of the user's files.
See mount_namespaces(7), pivot_root(2) and https://docs.kernel.org/filesystems/overlayfs.html.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kelp.execution.worker import protection
from kelp.execution.worker.protocol import receive, send

PROGRAMS = ("/bin", "/sbin", "/etc/alternatives")  # shown to every run, beside `protection.SYSTEM`
OF_RUNS = {  # files of the view's own
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {host}\n",
    "/etc/nsswitch.conf": "hosts: files\npasswd: files\ngroup: files\n",
    "/etc/passwd": "{user}:x:{uid}:{gid}::{home}:/bin/sh\n",
}
_CACHES = (".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", ".coverage", ".cache", ".benchmarks", ".git")
# Files that Python and pytest read unasked wherever they find them.
_IMPLICIT = frozenset(
    "conftest.py pytest.ini .pytest.ini pytest.toml pyproject.toml tox.ini setup.cfg sitecustomize.py usercustomize.py "
    "pytest.py unittest.py".split()
)
_MAX_ENTRIES = 100_000  # that a run may write and still be examined


class View:
    """The file system of the runs, on the keeper's side.

    `folder` is the sandbox's, with the empty folder `home` for a run's home; `shown` are paths to read, and `copied`
    folders of which runs get a private copy.  All that a run writes is on a disk in memory of `disk_mb`.
    """

    def __init__(self, folder: str, home: str, shown: Iterable[str], copied: Iterable[str], disk_mb: int):
        self.folder, self.home, self.disk_mb = folder, home, disk_mb
        self.root, self.disk, self.nothing = (os.path.join(folder, name) for name in ("root", "disk", "nothing"))
        self.shown, self.copied = [*PROGRAMS, *protection.SYSTEM, *filter(os.path.isabs, shown)], list(copied)
        self.mounted: list[str] = []  # by `renew`

    def build(self) -> None:
        """Mount what stays, in a mount namespace of this process, and a first disk.  Raises OSError."""
        for place in (self.root, self.disk, self.nothing):
            os.mkdir(place, 0o700)
        protection.mount("tmpfs", self.root, "tmpfs", protection.MS_NOSUID, "size=4m,mode=0755")
        mounts = [path for path in _mount_points() if not _is_inside(path, [self.folder], ())]
        copied = {self._real(path) for path in self.copied}
        self.copied = sorted(path for path in copied if not _is_inside(path, copied, mounts))
        shown = {self._real(path) for path in self.shown if os.path.exists(path)}
        shown |= {path for path in mounts if _is_inside(path, shown | copied, ()) and os.path.exists(path)}
        shown = {path for path in shown - copied if not _is_inside(path, ["/proc"], ())}
        shown = {path for path in shown if not _is_inside(path, shown | copied, mounts)}
        for path in [*shown, *self.copied, self.home, "/dev/shm", "/dev/pts", "/proc"]:
            inside = self.root + path
            os.makedirs(inside if os.path.isdir(path) else os.path.dirname(inside), exist_ok=True)
            if not os.path.isdir(path):
                Path(inside).touch()
        for name, text in OF_RUNS.items():
            facts = {"user": os.environ.get("USER", "user"), "uid": os.getuid(), "gid": os.getgid(), "home": self.home}
            facts["host"] = os.uname().nodename
            Path(self.root + name).parent.mkdir(exist_ok=True)
            Path(self.root + name).write_text(text.format(**facts))
        for path in sorted(shown):
            self._show(path)
        terminals = self.root + "/dev/pts"
        protection.mount("devpts", terminals, "devpts", protection.MS_NOSUID, "newinstance,ptmxmode=0666,max=64")
        os.symlink("pts/ptmx", self.root + "/dev/ptmx")
        protection.make_read_only(self.root)
        protection.mount(None, self.root, None, protection.MS_REC | protection.MS_SHARED)
        self.renew()

    def _real(self, path: str) -> str:
        """Make the links on the way to a path, and return where it leads."""
        here = os.sep
        for part in Path(os.path.abspath(path)).parts[1:]:
            here = os.path.join(here, part)
            if os.path.islink(here):
                link, here = self.root + here, os.path.realpath(here)
                if not os.path.lexists(link):
                    os.makedirs(os.path.dirname(link), exist_ok=True)
                    os.symlink(here, link)
        return here

    def _show(self, path: str) -> None:
        """Mount a path, a folder so that none of its sockets can be connected to.  Raises OSError."""
        if os.path.isdir(path):
            try:
                _overlay(path, self.root + path, f":{self.nothing}")
                return
            except OSError:
                if not path.startswith(protection.SYSTEM):
                    raise
        protection.mount(path, self.root + path, None, protection.MS_BIND | protection.MS_REC)

    def renew(self) -> None:
        """Throw away all that was written, and mount an empty disk.  Raises OSError."""
        while self.mounted:
            protection.unmount(self.mounted.pop())
        flags = protection.MS_NOSUID | protection.MS_NODEV
        options = f"size={self.disk_mb}m,nr_inodes={self.disk_mb * 128},mode=0700"
        protection.mount("tmpfs", self.disk, "tmpfs", flags, options)
        self.mounted.append(self.disk)
        for name in ("home", "shm"):
            os.mkdir(os.path.join(self.disk, name), 0o700)
        self._bind("shm", "/dev/shm")
        for number, path in enumerate(self.copied):
            upper, work = (os.path.join(self.disk, f"{name}{number}") for name in ("upper", "work"))
            os.mkdir(upper, 0o700)
            os.mkdir(work, 0o700)
            _overlay(path, self.root + path, f",upperdir={upper},workdir={work}")
            self.mounted.append(self.root + path)
        self._bind("home", self.home)

    def _bind(self, name: str, place: str) -> None:
        if place == "/dev/shm" and any(path.startswith("/dev/shm/") for path in [self.home, *self.copied]):
            return
        protection.mount(os.path.join(self.disk, name), self.root + place, None, protection.MS_BIND)
        self.mounted.append(self.root + place)

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
        for number, root in enumerate(self.copied):
            for path, entry in _written(os.path.join(self.disk, f"upper{number}"), root):
                name = os.path.relpath(path, root)
                if path in files:
                    if not entry.is_file(follow_symlinks=False) or Path(entry.path).read_bytes() != files[path]:
                        changed.append(name)
                elif path not in ours and (
                    _is_opaque(entry) if _is_folder(entry) else entry.name in _IMPLICIT or os.path.lexists(path)
                ):
                    changed.append(name)
        return sorted(changed)

    def keep(self, connection: socket.socket) -> None:
        """Serve `Keeper.renew` until the other side is gone."""
        while (files := receive(connection)) is not None:
            reply: dict[str, Any] = {"changed": [], "error": None}
            try:
                if files:
                    reply["changed"] = self.changed({path: source.encode("latin-1") for path, source in files.items()})
                self.renew()
            except OSError as error:
                reply["error"] = str(error)
            send(connection, reply)


class Keeper:
    """The keeper, as the server sees it, which is in the view. `copied` are the folders of which runs have copies."""

    def __init__(self, connection: socket.socket, home: str, copied: list[str]):
        self.connection, self.copied = connection, copied
        self.writable = [home, *copied, "/dev/shm", "/dev/pts"]
        self.clean = self._state()  # after `renew`

    def is_copied(self, path: str) -> bool:
        """Return whether a path is in a copy, which is mounted anew."""
        return os.path.join(os.path.realpath(path), "").startswith(tuple(f"{folder}/" for folder in self.copied))

    def renew(self, files: Mapping[str, str] | None) -> list[str]:
        """Throw away all that a run wrote, and return the changed files of the project, for a run with these sources.

        Raises OSError.
        """
        if not self.copied and self._state() == self.clean:  # else the user's edits might not show
            return []
        send(self.connection, {} if files is None else files)
        reply = receive(self.connection)
        if reply is None or reply["error"]:
            raise OSError(0, "the disk of the runs cannot be mounted anew", reply and reply["error"])
        self.clean = self._state()
        return list(reply["changed"])

    def _state(self) -> list[Any]:
        """Facts that are others as soon as anything was written, or an attribute of a folder was changed."""
        disk = os.statvfs(self.writable[0])
        folders = [os.stat(path) for path in self.writable]
        facts = [(each.st_mode, each.st_uid, each.st_gid, each.st_mtime_ns, each.st_ctime_ns) for each in folders]
        return [disk.f_ffree, disk.f_bfree, *facts, *map(os.listxattr, self.writable)]


def enter(root: str) -> None:
    """Make the folder the root of this process, in a mount namespace that follows the keeper's.  Raises OSError."""
    if not protection.unshare(protection.CLONE_NEWNS):
        raise OSError(0, "no mount namespace")
    protection.mount(None, "/", None, protection.MS_REC | protection.MS_SLAVE)
    try:
        protection.mount("proc", f"{root}/proc", "proc", protection.MS_NOSUID | protection.MS_NODEV)
    except OSError:  # in a container that hides parts of it
        protection.mount("/proc", f"{root}/proc", None, protection.MS_BIND | protection.MS_REC)
    protection.change_root(root)


def write_sources(files: Mapping[str, bytes]) -> None:
    """Write files of the copy, and remove their bytecode.  Raises OSError."""
    for path, source in files.items():
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
    caches = os.path.join(folder, "__pycache__")
    return [*Path(caches).glob(f"{Path(name).stem}.*.pyc")] if os.path.isdir(caches) else []


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    return [re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4]) for line in lines]


def _is_inside(path: str, folders: Iterable[str], boundaries: Iterable[str]) -> bool:
    """Return whether a path is below one of the folders, with no boundary between."""
    above = [path, *map(str, Path(path).parents)]
    depth = min([above.index(each) for each in boundaries if each in above], default=len(above))
    return any(0 < above.index(folder) <= depth for folder in folders if folder in above)


def _overlay(path: str, place: str, rest: str) -> None:
    below = os.open(path, os.O_PATH)
    try:  # by its number a name needs no escaping
        options = f"userxattr,lowerdir=/proc/self/fd/{below}{rest}"
        protection.mount("overlay", place, "overlay", protection.MS_NOSUID | protection.MS_NODEV, options)
    finally:
        os.close(below)


def _written(disk: str, root: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry on the disk of a folder's copy, with its path in that folder."""
    left, count = [(disk, root)], 0
    while left:
        folder, path = left.pop()
        for entry in os.scandir(folder):
            if entry.name.startswith(_CACHES):
                continue
            here = os.path.join(path, entry.name)
            yield here, entry
            if _is_folder(entry):
                os.chmod(entry.path, 0o700)
                left.append((entry.path, here))
            if (count := count + 1) > _MAX_ENTRIES:
                raise OSError(0, "more files than can be examined")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_opaque(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder was removed and made again: it hides the project's own."""
    for kind in ("user", "trusted"):
        with contextlib.suppress(OSError):
            return os.getxattr(entry.path, f"{kind}.overlay.opaque") == b"y"
    return False
