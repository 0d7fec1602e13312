"""Repair as a Python API: a `Session` takes a program and its tests, and gives events and patches."""

from kelp.repair.events import (
    Done,
    Event,
    FunctionsChosen,
    Located,
    ModelReady,
    Patch,
    PatchFound,
    Result,
    SandboxStarted,
    SitesPointed,
    StateTested,
    TestsObserved,
    TestsSetAside,
)
from kelp.repair.localize import Suspect
from kelp.repair.models import load
from kelp.repair.project import Project
from kelp.repair.session import NoSuspect, Session
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
    "Located",
    "ModelReady",
    "NoSuspect",
    "NoTests",
    "Patch",
    "PatchFound",
    "PointedSite",
    "Project",
    "Result",
    "SandboxStarted",
    "Session",
    "SitesPointed",
    "StateTested",
    "Suspect",
    "Tests",
    "TestsObserved",
    "TestsSetAside",
    "Trajectory",
    "find_python",
    "find_tests",
    "load",
]
