"""Run the tests of a program in a sandbox: a `Suite` and a source in, an `Observation` out.

The names are imported on first use: `kelp.execution.worker`, which runs beside hostile code, loads none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kelp.execution.observation import CallResult, Observation, TestOutcome
    from kelp.execution.sandbox import Sandbox
    from kelp.execution.server_process import WeakSandbox
    from kelp.execution.suite import Limits, Suite

__all__ = ["CallResult", "Limits", "Observation", "Sandbox", "Suite", "TestOutcome", "WeakSandbox"]
_MODULES = {name: "observation" for name in ("CallResult", "Observation", "TestOutcome")}
_MODULES |= {"Sandbox": "sandbox", "WeakSandbox": "server_process", "Limits": "suite", "Suite": "suite"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
