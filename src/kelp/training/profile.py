"""Profile of a few steps: a trace that Perfetto, TensorBoard and XProf open, and the memory that was used.

XLA names operations by their `jax.named_scope`: attention, mlp, head, loss, optimizer. The making of a batch and its
way to the devices are named data.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from kelp.training.objective import TrainingError


@dataclass(frozen=True)
class Profile:
    """The steps to trace, first and last, and the folder to write to."""

    folder: Path
    first: int
    last: int

    def check(self, start: int, steps: int) -> None:
        """Raise TrainingError where a run goes from step `start` + 1 to `steps` without these steps."""
        if not start < self.first <= self.last <= steps:
            raise TrainingError(
                f"the steps to profile are {self.first} to {self.last}, and the run goes from {start + 1} to {steps}."
            )


class Profiler:
    """Context manager around a run that traces the steps of a profile, or none."""

    def __init__(self, profile: Profile | None) -> None:
        self._profile, self._stack = profile, ExitStack()

    def begin(self, step: int) -> None:
        if self._profile and step == self._profile.first:
            self._stack.enter_context(tracing(self._profile.folder))

    def end(self, step: int, results: Any) -> dict[str, int]:
        """After the last step, write the profile once its `results` are there; return the peaks of memory in bytes."""
        if not self._profile or step != self._profile.last:
            return {}
        jax.block_until_ready(results)
        self._stack.close()
        return peaks()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


@contextmanager
def tracing(folder: Path) -> Iterator[None]:
    """Write a trace of what runs within to a folder, and there in `memory.prof` the device memory at its end."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # every call of a Python function would bury the rest
    with jax.profiler.trace(folder, profiler_options=options):
        yield
    jax.profiler.save_device_memory_profile(str(folder / "memory.prof"))


def peaks() -> dict[str, int]:
    """Most memory in use so far, in bytes: of this process, and of the fullest device that counts its own."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"process_peak_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    counted = [stats["peak_bytes_in_use"] for device in jax.local_devices() if (stats := device.memory_stats())]
    return found | ({"device_peak_bytes": max(counted)} if counted else {})
