"""Repair as a Python API: a `Session` takes a program and its tests, and gives events and patches."""

from kelp.repair.models import load
from kelp.repair.session import (
    Done,
    Event,
    FunctionsChosen,
    ModelReady,
    NoSuspect,
    Patch,
    PatchFound,
    Result,
    SandboxStarted,
    Session,
    SitesPointed,
    StateTested,
    TestsObserved,
    TestsSetAside,
)
from kelp.repair.tests import CommandError, NoTests, Tests, find_python, find_tests
from kelp.repair.trajectory import Trajectory
from kelp.search.policy import PointedSite
from kelp.search.task import Budget

__all__ = [
    "Budget",
    "CommandError",
    "Done",
    "Event",
    "FunctionsChosen",
    "ModelReady",
    "NoSuspect",
    "NoTests",
    "Patch",
    "PatchFound",
    "PointedSite",
    "Result",
    "SandboxStarted",
    "Session",
    "SitesPointed",
    "StateTested",
    "Tests",
    "TestsObserved",
    "TestsSetAside",
    "Trajectory",
    "find_python",
    "find_tests",
    "load",
]
