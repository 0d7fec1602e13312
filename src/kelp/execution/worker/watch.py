"""A run while it goes on: its reports and output, its time, and what its processes use together."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kelp.execution.worker import protection
from kelp.execution.worker.protocol import Event, as_event

_OUTPUT_KEPT = 2**16
_REPORT_LIMIT = 2**24
_METER_PAUSE, _LONGEST_PAUSE = 0.05, 0.25  # seconds between two measurements: if one is cheap, and at most
_FORKS = 16


class Watch:
    """Reads a child's two pipes while it runs."""

    def __init__(self, secret: str, pipe: int, output: int):
        self.secret, self.pipe, self.output = secret.encode(), pipe, output
        self.events: list[Event] = []
        self.printed = bytearray()
        self.partial = b""
        self.size = 0
        os.set_blocking(pipe, False)
        os.set_blocking(output, False)

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1]["event"] == "done"

    def follow(
        self, child: int, connection: socket.socket, deadline: float, cpu: float | None, meter: Meter | None
    ) -> str:
        """Read until the run ends, and return why.

        "done", "exit" of the child, "deadline", a "flood" of reports, "cpu" after `cpu` seconds of processor time,
        "tasks" or "memory" by the meter, or "abandoned" by the caller.
        """
        clock = ~child << 3 | 2  # clock_getcpuclockid(3) of Linux
        poll = select.poll()
        exit_of = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
        for descriptor in (self.pipe, self.output, connection.fileno(), exit_of):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        try:
            while (left := deadline - time.monotonic()) > 0:
                if cpu is not None and sys.platform == "linux":
                    left = min(left, cpu - time.clock_gettime(clock))  # wall-clock time passes at least as fast
                    if left <= 0:
                        return "cpu"
                if meter is not None and (exceeded := meter.exceeded()) is not None:
                    return exceeded
                pause = left if meter is None else min(left, meter.pause)
                for descriptor, _ in poll.poll(pause * 1000 + 1):
                    if descriptor == self.pipe:
                        if not self.read_report():
                            if exit_of is None:
                                return "exit"
                            poll.unregister(self.pipe)
                        if self.done:
                            return "done"
                        if self.size > _REPORT_LIMIT:
                            return "flood"
                    elif descriptor == self.output:
                        if not self.read_output():
                            poll.unregister(self.output)
                    elif descriptor == exit_of:
                        return "exit"
                    elif not connection.recv(1, socket.MSG_PEEK):
                        return "abandoned"
            return "deadline"
        finally:
            if exit_of is not None:
                os.close(exit_of)

    def drain(self) -> None:
        """Read the rest of the pipes when every process that could write to them has been killed."""
        for _ in range(64):  # a pipe holds no more, unless something that escaped still writes
            if not self.read_report():
                break
        self.read_output()

    def read_report(self) -> bool:
        """Take in complete lines, ignoring malformed ones and those without the secret; False at the pipe's end."""
        try:
            data = os.read(self.pipe, 2**16)
        except BlockingIOError:
            return True
        self.size += len(data)
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                if (
                    line.startswith(self.secret)
                    and (event := as_event(json.loads(line[len(self.secret) :]))) is not None
                ):
                    self.events.append(event)
        return bool(data)

    def read_output(self) -> bool:
        try:
            data = os.read(self.output, 2**16)
        except BlockingIOError:
            return True
        self.printed += data[: _OUTPUT_KEPT - len(self.printed)]
        return bool(data)


class Meter:
    """Measures the processes of this process namespace together, without this process itself, 20 times a second.

    Forks of this process share most of its memory, so the first `_FORKS` of them are allowed as much as it has.  How
    much is shared (`smaps_rollup`) is not asked: the answer waits for a process that forks without end.
    """

    def __init__(self, limits: Mapping[str, Any]):
        self.tasks, self.memory = limits["tasks"], limits["memory_mb"] * 2**20
        self.namespace = os.readlink("/proc/self/ns/pid")
        self.pid = os.readlink("/proc/self")
        self.stack, self.base = _facts(self.pid)[1:]
        self.pause = _METER_PAUSE
        self.due = time.monotonic() + self.pause

    def exceeded(self) -> str | None:
        """The resource whose limit is exceeded: "tasks" or "memory"."""
        now = time.monotonic()
        if now < self.due:
            return None
        tasks = memory = forks = 0
        for pid in os.listdir("/proc"):
            if pid.isdigit() and pid != self.pid:
                try:
                    if os.readlink(f"/proc/{pid}/ns/pid") != self.namespace:
                        continue
                    threads, stack, resident = _facts(pid)
                except OSError:
                    continue
                forks += stack == self.stack
                shared = self.base if stack == self.stack and forks <= _FORKS else 0
                tasks, memory = tasks + threads, memory + max(0, resident - shared)
                if tasks > self.tasks:
                    return "tasks"
        memory += _sockets() * protection.SOCKET_KB * 1024
        elapsed = time.monotonic() - now
        self.pause = min(max(_METER_PAUSE, 20 * elapsed), _LONGEST_PAUSE)
        self.due = now + elapsed + self.pause
        return "memory" if memory > self.memory else None


def _facts(pid: str) -> tuple[int, int, int]:
    """Threads of a process, the address of its stack, which a fork keeps, and its resident bytes. Raises OSError."""
    facts = Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()  # proc(5), from its field 3
    return int(facts[17]), int(facts[25]), int(facts[21]) * os.sysconf("SC_PAGE_SIZE")


def _sockets() -> int:
    """The number of sockets of this network namespace, those on their way between processes included."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/net/sockstat").read_text().split()[2])
    return 0
