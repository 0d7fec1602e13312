"""Confinement of a run: namespaces, resource limits, Landlock; `seccomp.py` has the system calls.

Linux only, through ctypes; each function returns whether it worked, and a run goes on with the protections there are.
See namespaces(7), landlock(7), seccomp(2), capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = (1 << bit for bit in (1, 2, 12, 14, 18, 19, 20))
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
MOUNT_SETATTR, CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 442, 444, 445, 446
_AT_FDCWD, _AT_RECURSIVE, _RDONLY = -100, 0x8000, 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
# No connection outlasts its run, and the buffers of one hold no more than `SOCKET_KB` counts.
_NETWORK = {"tcp_max_tw_buckets": "0", "tcp_rmem": "4096 131072 212992", "tcp_wmem": "4096 65536 212992"}
SOCKET_KB = 512  # of the buffers of a socket, at most
_RESERVED_PIDS = 300  # of the kernel's pid.h

_libc = ctypes.CDLL(None, use_errno=True)


# Abilities of a program where a protection is missing.  Namespaces are not on the list: seccomp refuses the same.
_WITHOUT = {
    "files": "reading and writing files anywhere (no Landlock)",
    "calls": "making sockets, processes and signals by system call (no seccomp)",
    "privileges": "using the rights of this user's other programs (no no_new_privs)",
}


def missing(active: Mapping[str, str]) -> tuple[str, ...]:
    """Abilities that these protections leave to a program, each in a few words."""
    return tuple(what for part, what in _WITHOUT.items() if active.get(part, "none").startswith(("none", "audit hook")))


def weakness(what: Iterable[str]) -> str:
    return f"This machine cannot keep a program from {' and from '.join(what)}"


def prctl(option: int, argument: Any = 0, pointer: Any = 0) -> bool:
    """prctl(2), where there is one; False where it fails."""
    if not sys.platform.startswith("linux"):
        return False
    return _libc.prctl(option, ctypes.c_ulong(argument), pointer, 0, 0) == 0


def _syscall(number: int, *arguments: Any) -> int:
    return _libc.syscall(ctypes.c_long(number), *arguments)


def unshare(flag: int) -> bool:
    """Move this process (for process namespaces: its children) to a new namespace; False where that is refused."""
    return sys.platform.startswith("linux") and _libc.unshare(flag) == 0


def own_namespaces() -> bool:
    """Enter mount, IPC and network namespaces, and a process namespace for the children; False where one is refused."""
    if not unshare(CLONE_NEWPID | CLONE_NEWNS) and not (own_user_namespace() and unshare(CLONE_NEWPID | CLONE_NEWNS)):
        return False
    try:
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    except OSError:  # a user namespace without rights, as some systems give it
        return False
    return unshare(CLONE_NEWIPC) and own_network()


def own_user_namespace() -> bool:
    """Enter a user namespace in which this user may make the others, with the same ids where that is allowed."""
    uid, gid = os.geteuid(), os.getegid()
    if not unshare(CLONE_NEWUSER):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text)
    return True


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2). Raises OSError."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def unmount(target: str) -> None:
    """umount2(2). Raises OSError."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def make_read_only(folder: str) -> None:
    """Make the mount at a folder, and those below it, read-only. Raises OSError."""
    wanted = struct.pack("=QQQQ", _RDONLY, 0, 0, 0)
    path, size = os.fsencode(folder), ctypes.c_size_t(len(wanted))
    if _syscall(MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, wanted, size) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)


def change_root(folder: str) -> None:
    """Make the mount at a folder the root of this mount namespace, and detach all others. Raises OSError."""
    os.chdir(folder)
    if _syscall(_PIVOT_ROOT.get(platform.machine(), -1), b".", b".") != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    unmount(".")  # the old root, which lies over the new one
    os.chdir("/")


def own_network() -> bool:
    """Enter a network namespace of which only the loopback interface is up."""
    if not unshare(CLONE_NEWNET):
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    except OSError:
        return False
    for name, value in _NETWORK.items():
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/ipv4", name).write_text(value)
    return True


def limit_tasks(most: int) -> bool:
    """Bound the processes and threads of this process namespace, of any user (since Linux 6.14); False where refused.

    The kernel gives out numbers up to `pid_max` of the namespace; it keeps the first 300 for the time before they are
    used up, so that a few more tasks than `most` can exist at first. RLIMIT_NPROC does not bind root.
    """
    try:
        Path("/proc/sys/kernel/pid_max").write_text(str(_RESERVED_PIDS + most))
    except OSError:
        return False
    return True


def die_with_parent() -> bool:
    return prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Become the parent of orphaned descendants, to reap them."""
    return prctl(PR_SET_CHILD_SUBREAPER, 1)


def drop_privileges() -> bool:
    """Give up every capability, for good: nothing executed later regains them."""
    if not prctl(PR_SET_NO_NEW_PRIVS, 1):
        return False
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    return _libc.capset(header, bytes(24)) == 0


def own_size() -> int | None:
    """Return a descriptor that tells this process's memory; its forks, which begin with as much, may not open one."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def limit_resources(limits: Mapping[str, Any], size: int | None) -> None:
    """Set this process's limits from the fields of a `Limits`; `size` is from `own_size`."""
    mapped = 0 if size is None else int(os.pread(size, 64, 0).split()[0]) * resource.getpagesize()
    cpu = ceil(min(limits["seconds"], limits["cpu_seconds"] or limits["seconds"])) + 1
    memory, file = mapped + limits["memory_mb"] * 2**20, limits["file_mb"] * 2**20
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, file, file),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))


# Landlock: the rights below are refused wherever no rule allows them.  Executing is left to seccomp.
_LISTS = 1 << 3
_READS = 1 << 2 | _LISTS  # files, folders
_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))  # write, remove, make of every kind
_WRITES_SINCE = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # refer (move between folders), truncate, ioctl of devices
_ON_FILES = 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
SYSTEM = tuple(
    (  # read by the interpreter and the C library; nothing about the machine's users
        "/usr /lib /lib32 /lib64 /nix /System /Library /etc/ld.so.cache /etc/localtime /etc/timezone /etc/mime.types "
        "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /proc/cpuinfo /proc/meminfo /sys/devices/system/cpu"
    ).split()
)


Rules = list[tuple[int, int]]  # descriptors of files and folders, each with the rights beneath it


def reading(readable: Iterable[str], listed: Iterable[str]) -> Rules:
    """Rules for reading the system's libraries and beneath `readable`, and for listing beneath `listed`."""
    return _rules(dict.fromkeys(listed, _LISTS) | dict.fromkeys([*SYSTEM, *readable], _READS))


def writing(writable: Iterable[str]) -> Rules:
    """Rules for everything beneath `writable`, and for writing to /dev/null."""
    return _rules(dict.fromkeys([*writable, os.devnull], _READS | _writes()))


def _writes() -> int:
    version = _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return _WRITES + sum(right for since, right in _WRITES_SINCE.items() if version >= since)


def _rules(rights: Mapping[str, int]) -> Rules:
    rules = []
    for path, allowed in rights.items() if sys.platform.startswith("linux") else ():
        with contextlib.suppress(OSError):  # there may be no such thing here
            rules.append(
                (os.open(path, os.O_PATH | os.O_CLOEXEC), allowed & (-1 if os.path.isdir(path) else _ON_FILES))
            )
    return rules


def confined(rules: Rules, closing: Rules) -> int | None:
    """Return the descriptor of a Landlock ruleset, or None where there is none; close the descriptors of `closing`."""
    ruleset = -1
    if sys.platform.startswith("linux"):
        ruleset = _syscall(CREATE_RULESET, struct.pack("=Q", _READS | _writes()), ctypes.c_size_t(8), 0)
    added = [_syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, beneath), 0) for beneath, rights in rules]
    for beneath, _ in closing:
        os.close(beneath)
    if ruleset >= 0 and any(added):
        os.close(ruleset)
        return None
    return ruleset if ruleset >= 0 else None


def restrict_files(ruleset: int) -> bool:
    """Bind this process to the ruleset; it must have given up its privileges before."""
    return _syscall(RESTRICT_SELF, ruleset, 0) == 0


_EVENTS = (
    "os.fork os.forkpty os.exec os.posix_spawn os.spawn os.system subprocess.Popen pty.spawn os.kill os.killpg "
    "socket.__new__ socket.connect socket.bind"
)


def forbid_events() -> None:
    """Have the interpreter refuse sockets, new processes and signals, where seccomp is missing."""
    refused = frozenset(_EVENTS.split())

    def hook(event: str, _arguments: Any) -> None:
        if event in refused:
            raise PermissionError(errno.EPERM, f"{event} is not allowed in the sandbox")

    sys.addaudithook(hook)
