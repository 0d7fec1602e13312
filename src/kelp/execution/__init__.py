"""Running the tests of a program in a sandbox: a `Suite` and a source in, an `Observation` out."""

from kelp.execution.observation import CallResult, Observation, TestOutcome
from kelp.execution.sandbox import Sandbox, WeakSandbox
from kelp.execution.suite import Limits, Suite

__all__ = ["CallResult", "Limits", "Observation", "Sandbox", "Suite", "TestOutcome", "WeakSandbox"]
