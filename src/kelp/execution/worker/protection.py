"""Confinement of a run: namespaces, resource limits, Landlock, seccomp.

Linux only, through ctypes; each function returns whether it worked, and a run goes on with the protections there are.
See namespaces(7), landlock(7), seccomp(2), capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 17, 1 << 27, 1 << 28, 1 << 29, 1 << 30
CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000  # every namespace that clone can make
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1 << 1, 1 << 2, 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    22,
    24,
    36,
    38,
)
MOUNT_SETATTR, CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 442, 444, 445, 446
_AT_FDCWD, _AT_RECURSIVE, _RDONLY = -100, 0x8000, 1
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
    without = dict(_WITHOUT)
    if active.get("mounts", "none") != "none":
        without["files"] = "reading files anywhere (no Landlock)"
    return tuple(what for part, what in without.items() if active.get(part, "none").startswith(("none", "audit hook")))


def weakness(what: Iterable[str]) -> str:
    return f"This machine cannot keep a program from {' and from '.join(what)}"


def _prctl(option: int, argument: Any = 0, pointer: Any = 0) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return _libc.prctl(option, ctypes.c_ulong(argument), pointer, 0, 0) == 0


def _syscall(number: int, *arguments: Any) -> int:
    return _libc.syscall(ctypes.c_long(number), *arguments)


def unshare(flag: int) -> bool:
    """Move this process (for process namespaces: its children) to a new namespace; False where that is refused."""
    return sys.platform.startswith("linux") and _libc.unshare(flag) == 0


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


def own_mounts() -> bool:
    """Enter a mount namespace from which nothing spreads to others."""
    if not unshare(CLONE_NEWNS):
        return False
    try:
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    except OSError:  # a user namespace without rights, as some systems give it
        return False
    return True


def mount_disk(folder: str, megabytes: int) -> None:
    """Mount an empty file system in memory, in a mount namespace of this process.  Raises OSError."""
    options = f"size={megabytes}m,nr_inodes={megabytes * 128},mode=0700"
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, options)
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder))  # a user namespace that does not know its user cannot
    except OSError:
        unmount(folder)
        raise


def mount_read_only_but(folder: str) -> bool:
    """Make everything read-only but `folder`, whoever owns it, in a mount namespace of this process.

    Landlock does not cover modes, owners, times and attributes of files; a read-only mount does.
    """
    try:
        if not os.path.ismount(folder):
            mount(folder, folder, None, MS_BIND)
    except OSError:
        return False
    for path, attributes in (("/", (_RDONLY, 0)), (folder, (0, _RDONLY))):
        wanted = struct.pack("=QQQQ", *attributes, 0, 0)
        if _syscall(MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, wanted, ctypes.c_size_t(len(wanted))):
            return False
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
    return _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Become the parent of orphaned descendants, to reap them."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def drop_privileges() -> bool:
    """Give up every capability, for good: nothing executed later regains them."""
    if not _prctl(PR_SET_NO_NEW_PRIVS, 1):
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
_SYSTEM = (  # read by the interpreter and the C library; nothing about the machine's users
    "/usr /lib /lib32 /lib64 /nix /System /Library /etc/ld.so.cache /etc/localtime /etc/timezone /etc/mime.types "
    "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /proc/cpuinfo /proc/meminfo /sys/devices/system/cpu"
).split()


def confined(writable: Iterable[str], readable: Iterable[str], listed: Iterable[str] = ()) -> int | None:
    """Return the descriptor of a Landlock ruleset, or None where there is none.

    It allows reading beneath `readable` and of the system's libraries, listing also beneath `listed`, and writing
    beneath `writable` and to /dev/null.
    """
    if not sys.platform.startswith("linux"):
        return None
    version = _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return None
    writes = _WRITES + sum(right for since, right in _WRITES_SINCE.items() if version >= since)
    ruleset = _syscall(CREATE_RULESET, struct.pack("=Q", _READS | writes), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return None
    allowed = dict.fromkeys(listed, _LISTS)
    allowed |= dict.fromkeys([*_SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, *readable], _READS)
    for path, rights in (allowed | dict.fromkeys([*writable, os.devnull], _READS | writes)).items():
        try:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # there is no such thing here
        if not os.path.isdir(path):
            rights &= _ON_FILES
        added = _syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, beneath), 0)
        os.close(beneath)
        if added != 0:
            os.close(ruleset)
            return None
    return ruleset


def restrict_files(ruleset: int) -> bool:
    """Bind this process to the ruleset; it must have given up its privileges before."""
    return _syscall(RESTRICT_SELF, ruleset, 0) == 0


# seccomp: numbers of the system calls that a run of tests is refused.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        dict(
            socket=41, clone=56, fork=57, vfork=58, execve=59, kill=62, ptrace=101, rt_sigqueueinfo=129,
            mount=165, umount2=166, tkill=200, tgkill=234, add_key=248, request_key=249, keyctl=250,
            unshare=272, rt_tgsigqueueinfo=297, perf_event_open=298, setns=308, process_vm_readv=310,
            process_vm_writev=311, bpf=321, execveat=322, userfaultfd=323, pidfd_send_signal=424,
            io_uring_setup=425, clone3=435, pidfd_getfd=438,
            truncate=76, chmod=90, fchmod=91, chown=92, fchown=93, lchown=94, utime=132, setxattr=188, lsetxattr=189,
            fsetxattr=190, removexattr=197, lremovexattr=198, fremovexattr=199, utimes=235, fchownat=260,
            futimesat=261, fchmodat=268, utimensat=280, fchmodat2=452, setxattrat=463, removexattrat=466,
            file_setattr=469,
            socketpair=53, inotify_init=253, inotify_init1=294, fanotify_init=300, memfd_create=319, memfd_secret=447,
            ioctl=16, shmget=29, semget=64, msgget=68, fcntl=72, setpriority=141, sched_setparam=142,
            sched_setscheduler=144, sched_setaffinity=203, mq_open=240, ioprio_set=251, prlimit64=302,
            sched_setattr=314,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        dict(
            umount2=39, mount=40, unshare=97, ptrace=117, kill=129, tkill=130, tgkill=131,
            rt_sigqueueinfo=138, socket=198, add_key=217, request_key=218, keyctl=219, clone=220, execve=221,
            rt_tgsigqueueinfo=240, perf_event_open=241, setns=268, process_vm_readv=270,
            process_vm_writev=271, bpf=280, execveat=281, userfaultfd=282, pidfd_send_signal=424,
            io_uring_setup=425, clone3=435, pidfd_getfd=438,
            setxattr=5, lsetxattr=6, fsetxattr=7, removexattr=14, lremovexattr=15, fremovexattr=16, truncate=45,
            fchmod=52, fchmodat=53, fchownat=54, fchown=55, utimensat=88, fchmodat2=452, setxattrat=463,
            removexattrat=466, file_setattr=469,
            inotify_init1=26, socketpair=199, fanotify_init=262, memfd_create=279, memfd_secret=447,
            fcntl=25, ioctl=29, ioprio_set=30, sched_setparam=118, sched_setscheduler=119, sched_setaffinity=122,
            setpriority=140, mq_open=180, msgget=186, semget=190, shmget=194, prlimit64=261, sched_setattr=274,
        ),
    ),
}  # fmt: skip
_LOAD, _AND, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENT, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data (little endian: the low halves)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


_OF_PROCESSES = (
    "fork vfork execve execveat kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"
).split()
_OF_SIGNALS = {"fcntl": (8, 15), "ioctl": (0x8901, 0x8902)}  # set the process to signal when there is input
_OF_OTHERS = {  # leases and notices of files, whoever uses them; flags, versions, keys of files that can be read
    "fcntl": (1024, 1026),
    "ioctl": (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40047602, 0x800C6613, 0x40806685),
}
_OF_LEFTOVERS = "semget msgget mq_open".split()  # they make objects that outlast the run
# Refused everywhere too: memory that no process's size shows (`memfd_create`, `shmget`), watching the user's files.
_OF_LIMITS = "prlimit64 sched_setparam sched_setscheduler sched_setaffinity sched_setattr".split()
_OF_PRIORITY = {"setpriority": 0, "ioprio_set": 1}  # with this first argument, the second is a process
_OF_FILES = (
    "truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr "
    "lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr"
).split()


SOME_PID = 0x7E1D5A3B  # no other number in the program
_FOR_A_COMMAND = (*_OF_PROCESSES, *_OF_LEFTOVERS)  # allowed where there are processes and namespaces


@lru_cache(8)
def seccomp_program(pid: int | None, read_only: bool) -> bytes | None:
    """Filter for the process `pid`, which may signal itself and start none; None: for processes that may do both.

    A filter made for `SOME_PID` before a fork needs only that number replaced in the child.
    """
    if platform.machine() not in _MACHINES or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    arch, numbers = _MACHINES[platform.machine()]
    deny = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    # Processes whose limits a run may change: not the server, process 1 of the namespace, which forks all later runs.
    whose = [(_JUMP_EQUAL, 0, 1, 1)] if pid is None else [(_JUMP_EQUAL, 2, 0, 0), (_JUMP_EQUAL, 1, 0, pid)]
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_ABOVE, 0, 1, 0x40000000),  # the x32 twins of every call
        deny,
    ]
    for name, number in numbers.items():
        if (pid is None and name in _FOR_A_COMMAND) or (read_only and name in _OF_FILES):
            continue
        if pid is None and name == "clone":  # processes too, but none in a namespace of its own
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_ANY_BIT, 0, 1, _CLONE_NEW), deny, allow]
        elif name == "clone":  # threads only
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_ANY_BIT, 1, 0, CLONE_THREAD), deny, allow]
        elif name in ("kill", "tgkill"):  # a program may signal itself
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_EQUAL, 1, 0, pid or 0), deny, allow]
        elif name in _OF_SIGNALS:
            refused = (*_OF_OTHERS[name], *(() if pid is None else _OF_SIGNALS[name]))
            jumps = [(_JUMP_EQUAL, len(refused) - at, 0, each) for at, each in enumerate(refused)]
            verdict = [(_LOAD, 0, 0, _SECOND), *jumps, allow, deny]
        elif name == "socketpair":  # one of datagrams can send to any socket that has a path
            verdict = [(_LOAD, 0, 0, _SECOND), (_AND, 0, 0, 0xF), (_JUMP_EQUAL, 0, 1, 2), deny, allow]
        elif name in _OF_LIMITS:
            verdict = [(_LOAD, 0, 0, _ARGUMENT), *whose, deny, allow]
        elif name in _OF_PRIORITY:
            kind = (_JUMP_EQUAL, 0, 1 + len(whose), _OF_PRIORITY[name])
            verdict = [(_LOAD, 0, 0, _ARGUMENT), kind, (_LOAD, 0, 0, _SECOND), *whose, deny, allow]
        elif name == "clone3":  # a filter cannot read its flags: the C library then takes clone
            verdict = [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
        else:
            verdict = [deny]
        program += [(_JUMP_EQUAL, 0, len(verdict), number), *verdict]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in [*program, allow])


def forbid_calls(*, read_only: bool, processes: bool = False) -> bool:
    """Refuse sockets and tracing; without `processes`, also new processes (threads are fine) and signals to others.

    Unless all but the scratch folder is mounted `read_only`, refuse changes of modes, owners, times and attributes too.
    """
    program = seccomp_program(None if processes else SOME_PID, read_only)
    if program is None:
        return False
    program = program.replace(struct.pack("=I", SOME_PID), struct.pack("=I", os.getpid()))
    return _prctl(PR_SET_SECCOMP, 2, ctypes.byref(_Filter(len(program) // 8, program)))


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
