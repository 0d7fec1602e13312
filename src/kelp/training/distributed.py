"""Processes that train together, each with devices of its own: start, agreement and end.

JAX's distributed runtime connects them, and its collectives carry all that a step exchanges. This file adds clusters
that JAX does not recognize, small exchanges between hosts, and a watch that ends every process with one sentence when
one is lost: no exception would reach the others, which wait within a collective.
"""

import atexit
import importlib.util
import json
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.errors import KelpError
from kelp.training.objective import Model, TrainingError

T = TypeVar("T")

PORT = 8476  # of the coordinator, if the environment names only its host
CONNECT_SECONDS = 300
WAIT_MS = 24 * 60 * 60 * 1000  # for process 0 to make data, or for the slowest evaluation
NEWS_SECONDS = 3  # time until all processes know that one is lost
_rounds = count()


@dataclass(frozen=True)
class Place:
    """Address (host:port) of the coordinator, index of this process, number of processes. All None: JAX finds them."""

    coordinator: str | None = None
    process: int | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.coordinator, self.process, self.processes)]
        if any(given) != all(given):
            raise TrainingError("--coordinator, --process-id and --processes go together: give all three, or none.")
        if self.coordinator is None or self.process is None or self.processes is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise TrainingError(f"--coordinator {self.coordinator} is no HOST:PORT.")
        if not 0 <= self.process < self.processes:
            raise TrainingError(f"--process-id {self.process} is none of the {self.processes} processes 0, 1 ...")


def find_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return the place that the variables of TPU hosts, SLURM's srun or SkyPilot give; None for a single process."""
    chips = [*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*")]
    if environment.get("TPU_WORKER_HOSTNAMES", "").count(",") or (chips and importlib.util.find_spec("libtpu")):
        return Place()
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and {"SLURM_PROCID", "SLURM_STEP_NODELIST"} <= environment.keys():
        return Place()
    if int(environment.get("SKYPILOT_NUM_NODES", 1)) > 1:
        first = environment["SKYPILOT_NODE_IPS"].split()[0]
        return Place(f"{first}:{PORT}", int(environment["SKYPILOT_NODE_RANK"]), int(environment["SKYPILOT_NUM_NODES"]))
    return None


@contextmanager
def joined(place: Place | None) -> Iterator[None]:
    """Connect this process with the others for the block; with None, it is alone. Call before any other use of JAX.

    Only the writer prints. After an error in the block, or if a process is lost, every process ends, with one sentence
    each. Raises TrainingError.
    """
    if place is None:
        yield
        return
    _tell_lost_contact()
    try:
        jax.distributed.initialize(
            place.coordinator, place.processes, place.process, initialization_timeout=CONNECT_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        where = f" at {place.coordinator}" if place.coordinator else ""
        reason = str(error).splitlines()[0].rstrip(".")
        raise TrainingError(f"The other processes{where} were not reached: {reason}.") from None
    watch = _Watch()
    try:
        with nullcontext() if is_writer() else open(os.devnull, "w") as nowhere, redirect_stdout(nowhere or sys.stdout):
            yield
    except BaseException as error:
        if jax.process_count() > 1:
            time.sleep(NEWS_SECONDS)  # where the loss of another is the cause, the watch ends this process with it
            code = 2 if isinstance(error, KelpError) else 130 if isinstance(error, KeyboardInterrupt) else 70
            atexit.register(_end_now, code)  # before JAX's own, which waits for the others
        sentence, *_ = str(error).splitlines() or [""]
        watch.leave(sentence if isinstance(error, KelpError) else f"{type(error).__name__}: {sentence}")
        raise
    watch.leave()


def is_writer() -> bool:
    """Return whether this process writes files, logs and messages for all."""
    return jax.process_index() == 0


def gather(value: T) -> list[T]:
    """Return a small value of every process, in their order; every process calls this at the same place."""
    if jax.process_count() == 1:
        return [value]
    store, name = _runtime().client, f"kelp/{next(_rounds)}"
    store.key_value_set_bytes(f"{name}/{jax.process_index()}", pickle.dumps(value))
    names = (f"{name}/{process}" for process in range(jax.process_count()))
    values: list[T] = [pickle.loads(store.blocking_key_value_get_bytes(each, WAIT_MS)) for each in names]
    return values


@contextmanager
def writer_first() -> Iterator[None]:
    """Run the block in the writer, then in the others, which find the files that it has written."""
    if not is_writer():
        gather(None)
    yield
    if is_writer():
        gather(None)


def check_agreed(**values: Any) -> None:
    """Raise TrainingError where a value, given by its name, differs between the processes."""
    found = gather({name: json.dumps(value, sort_keys=True) for name, value in values.items()})
    for process, other in enumerate(found):
        for name, value in found[0].items():
            if other[name] != value:
                raise TrainingError(
                    f"process {process} has another {name} than process 0: give all the same recipe, data and folders."
                )


def compiled_together(function: Any) -> Any:
    """The jitted function, which no process begins to run before all have compiled it for new shapes.

    Gloo, by which CPUs exchange arrays, waits 30 seconds at most for a process that still compiles.
    """
    if jax.process_count() == 1:
        return function
    compiled: dict[Any, Any] = {}

    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        shapes = (tree, *((leaf.shape, str(leaf.dtype), getattr(leaf, "sharding", None)) for leaf in leaves))
        if shapes not in compiled:
            compiled[shapes] = function.lower(*args).compile()
            gather(None)
        return compiled[shapes](*args)

    return call


def make_vote(mesh: Mesh) -> Callable[[int], int]:
    """Return a function that takes a number of this process and returns the greatest of all, the same in each process.

    It returns that of the call before, so that no step waits for it; a single process gets its own number at once.
    """
    if jax.process_count() == 1:
        return lambda wish: wish
    spread, everywhere = NamedSharding(mesh, P(mesh.axis_names)), NamedSharding(mesh, P())
    greatest = compiled_together(jax.jit(lambda wishes: wishes.max(), out_shardings=everywhere))
    before: list[jax.Array] = []

    def vote(wish: int) -> int:
        own = np.full(1, wish, np.int32)
        before.append(greatest(jax.make_array_from_callback((mesh.size,), spread, lambda _: own)))
        return int(before.pop(0)) if len(before) > 1 else 0

    return vote


def whole_here(model: Model) -> Model:
    """Return the weights; with several processes, whole on one device of each. Every process calls this."""
    return model if jax.process_count() == 1 else jax.tree.map(_whole, model)


def at_writer(arrays: T) -> T | None:
    """Return the arrays whole, in the memory of the writer's host; None elsewhere. Every process calls this."""

    def fetch(leaf: jax.Array) -> np.ndarray | None:
        whole = _whole(leaf)  # one at a time: together they may not fit on a device
        return np.asarray(whole) if is_writer() else None

    fetched: T = jax.tree.map(fetch, arrays)
    return fetched if is_writer() else None


def _whole(leaf: jax.Array) -> jax.Array:
    """An array that is spread over the processes, on one device of each.

    Waits for it: where several programs are under way on CPUs, their exchanges may wait for each other for ever.
    """
    spread = _spread(leaf.sharding.mesh)(jax.block_until_ready(leaf))  # type: ignore[attr-defined]
    whole: jax.Array = jax.block_until_ready(spread).addressable_data(0)
    return whole


@cache
def _spread(mesh: Mesh) -> Any:
    return compiled_together(jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P())))


def _end_lost(cause: str) -> None:
    """End this process, since another one has ended: no exception would reach a collective that waits for it."""
    sentence = f"The run has ended, since {cause.rstrip('.')}: start all processes again with --resume."
    with suppress(OSError):
        os.write(2, f"\n{sentence}\n".encode())
    os._exit(1)


def _tell_lost_contact() -> None:
    """Have JAX's client end a process as `_Watch` does, in place of an abort with a stack trace.

    The client notices a process that hangs, by its missed heartbeats, and may notice the loss of process 0 first.
    """
    from jax._src.lib import _jax

    def lost(*_: Any) -> None:
        time.sleep(NEWS_SECONDS)
        _end_lost("a process does not answer")

    connect = _jax.get_distributed_runtime_client
    if not isinstance(connect, partial):
        _jax.get_distributed_runtime_client = partial(connect, missed_heartbeat_callback=lost)


def _end_now(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or without a reader
            stream.flush()
    os._exit(code)


class _Watch:
    """A connection of process 0 with every other process, which breaks when one of the two is gone."""

    def __init__(self) -> None:
        self._own, self._lock, self._left = jax.process_index(), threading.Lock(), False
        self._lines: dict[int, socket.socket] = {}
        if jax.process_count() == 1:
            return
        host = _runtime().coordinator_address.rpartition(":")[0].strip("[]")
        if self._own == 0:
            server = socket.create_server(("", 0))
            gather(server.getsockname()[1])
            for _ in range(jax.process_count() - 1):
                line, _ = server.accept()
                self._lines[int.from_bytes(line.recv(4), "big")] = line
            server.close()
        else:
            line = socket.create_connection((host, gather(0)[0]), timeout=CONNECT_SECONDS)
            line.settimeout(None)
            line.sendall(self._own.to_bytes(4, "big"))
            self._lines[0] = line
        for process, line in self._lines.items():
            for option, value in {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}.items():
                if hasattr(socket, option):
                    level = socket.SOL_SOCKET if option.startswith("SO_") else socket.IPPROTO_TCP
                    line.setsockopt(level, getattr(socket, option), value)
            threading.Thread(target=self._listen, args=(process, line), daemon=True).start()

    def leave(self, sentence: str = "") -> None:
        """Tell the others that this process is done or, with a sentence, why all must end."""
        with self._lock:
            self._left = True
        self._tell(f"process {self._own} ended: {sentence}" if sentence else "done")

    def _listen(self, process: int, line: socket.socket) -> None:
        words = b""
        with suppress(OSError):
            while not words.endswith(b"\n") and (more := line.recv(4096)):
                words += more
        message = words.decode("utf-8", "replace").strip()
        if message != "done":
            self._end(message or f"process {process} is gone")

    def _end(self, cause: str) -> None:
        with self._lock:
            if self._left:
                return
            self._left = True
        self._tell(cause)
        _end_lost(cause)

    def _tell(self, message: str) -> None:
        for line in self._lines.values():
            with suppress(OSError):
                line.sendall(" ".join(message.split()).encode() + b"\n")


def _runtime() -> Any:
    """JAX's client of the coordination service, whose store has no public name."""
    from jax._src.distributed import global_state

    return global_state
