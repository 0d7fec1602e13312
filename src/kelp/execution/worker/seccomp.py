"""System calls that a run is refused. See seccomp(2).

With namespaces (`open`), a run may start processes, signal them and make sockets, since none of these leads outside.
Without them, a run is one process without sockets.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from functools import lru_cache

from kelp.execution.worker.protection import prctl

CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000  # every namespace that clone can make
_PR_SET_SECCOMP = 22

# Numbers of the calls that are refused, wholly or with some arguments.
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
# Offsets in struct seccomp_data (little endian: the low halves).
_NUMBER, _ARCH, _ARGUMENT, _SECOND, _THIRD = 0, 4, 16, 24, 32


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


_OF_PROCESSES = (
    "fork vfork execve execveat kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"
).split()
_OF_SIGNALS = {"fcntl": (8, 15), "ioctl": (0x8901, 0x8902)}  # set the process to signal when there is input
# Leases and notices of files, whoever uses them; flags, versions, keys of files that can be read; line disciplines of
# terminals, which few programs need and many faults of the kernel were in.
_OF_OTHERS = {
    "fcntl": (1024, 1026),
    "ioctl": (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40047602, 0x800C6613, 0x40806685, 0x5423),
}
# Refused everywhere too: memory that no process's size shows (`memfd_create`, `shmget`), objects that outlast the run
# (`semget`, `msgget`, `mq_open`), watching the user's files.
_OF_LIMITS = "prlimit64 sched_setparam sched_setscheduler sched_setaffinity sched_setattr".split()
_OF_PRIORITY = {"setpriority": 0, "ioprio_set": 1}  # with this first argument, the second is a process
_OF_FILES = (
    "truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr "
    "lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr"
).split()


_SOME_PID = 0x7E1D5A3B  # no other number in the program
_IF_OPEN = (*_OF_PROCESSES, *_OF_FILES)  # allowed then


@lru_cache(2)
def program(*, open: bool) -> bytes | None:
    """Filter of a run; where not `open`, `_SOME_PID` stands for its process, which may signal itself."""
    if platform.machine() not in _MACHINES or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    arch, numbers = _MACHINES[platform.machine()]
    deny = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    # Processes whose limits a run may change: not the server, process 1 of the namespace, which forks all later runs.
    whose = [(_JUMP_EQUAL, 0, 1, 1)] if open else [(_JUMP_EQUAL, 2, 0, 0), (_JUMP_EQUAL, 1, 0, _SOME_PID)]
    steps = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_ABOVE, 0, 1, 0x40000000),  # the x32 twins of every call
        deny,
    ]
    for name, number in numbers.items():
        if open and name in _IF_OPEN:
            continue
        if name == "clone" and open:  # processes too, but none in a namespace of its own
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_ANY_BIT, 0, 1, _CLONE_NEW), deny, allow]
        elif name == "clone":  # threads only
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_ANY_BIT, 1, 0, CLONE_THREAD), deny, allow]
        elif name in ("kill", "tgkill"):  # a program may signal itself
            verdict = [(_LOAD, 0, 0, _ARGUMENT), (_JUMP_EQUAL, 1, 0, _SOME_PID), deny, allow]
        elif name == "socket" and open:  # UNIX, IPv4 or IPv6; streams or datagrams; of their usual protocols
            verdict = [
                (_LOAD, 0, 0, _ARGUMENT), (_JUMP_EQUAL, 2, 0, 1), (_JUMP_EQUAL, 1, 0, 2), (_JUMP_EQUAL, 0, 9, 10),
                (_LOAD, 0, 0, _SECOND), (_AND, 0, 0, 0xF), (_JUMP_EQUAL, 1, 0, 1), (_JUMP_EQUAL, 0, 5, 2),
                (_LOAD, 0, 0, _THIRD), (_JUMP_EQUAL, 2, 0, 0), (_JUMP_EQUAL, 1, 0, 6), (_JUMP_EQUAL, 0, 1, 17),
                allow, deny,
            ]  # fmt: skip
        elif name == "socketpair" and open:
            continue
        elif name == "socketpair":  # one of datagrams can send to any socket that has a path
            verdict = [(_LOAD, 0, 0, _SECOND), (_AND, 0, 0, 0xF), (_JUMP_EQUAL, 0, 1, 2), deny, allow]
        elif name in _OF_SIGNALS:
            refused = (*_OF_OTHERS[name], *(() if open else _OF_SIGNALS[name]))
            jumps = [(_JUMP_EQUAL, len(refused) - at, 0, each) for at, each in enumerate(refused)]
            verdict = [(_LOAD, 0, 0, _SECOND), *jumps, allow, deny]
        elif name in _OF_LIMITS:
            verdict = [(_LOAD, 0, 0, _ARGUMENT), *whose, deny, allow]
        elif name in _OF_PRIORITY:
            kind = (_JUMP_EQUAL, 0, 1 + len(whose), _OF_PRIORITY[name])
            verdict = [(_LOAD, 0, 0, _ARGUMENT), kind, (_LOAD, 0, 0, _SECOND), *whose, deny, allow]
        elif name == "clone3":  # a filter cannot read its flags: the C library then takes clone
            verdict = [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
        else:
            verdict = [deny]
        steps += [(_JUMP_EQUAL, 0, len(verdict), number), *verdict]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, allow])


def forbid_calls(*, open: bool) -> bool:
    """Refuse this process and all that it starts the calls of a run; False where there is no seccomp."""
    code = program(open=open)
    if code is None:
        return False
    code = code.replace(struct.pack("=I", _SOME_PID), struct.pack("=I", os.getpid()))
    return prctl(_PR_SET_SECCOMP, 2, ctypes.byref(_Filter(len(code) // 8, code)))
