"""Start of a session of pytest: what is the same in each is done once, in the server."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pluggy
from _pytest import config as pytest_config
from _pytest import fixtures

PLUGINS = "pytest11"  # entry point of pytest's plugins


class _Installed(importlib.metadata.PathDistribution):
    """An installed package, whose description is read once."""

    @cached_property
    def entry_points(self) -> Any:
        return super().entry_points

    @cached_property
    def files(self) -> Any:
        return super().files

    @cached_property
    def metadata(self) -> Any:
        return super().metadata


def know_packages() -> None:
    """Patch importlib: the packages that are installed now are known to all runs. Folders added later are read then."""
    read = importlib.metadata.distributions
    known: dict[str, list[Any]] = {}
    for folder in sys.path:
        found = [*read(path=[folder])]
        if folder and all(type(each) is importlib.metadata.PathDistribution for each in found):
            known[folder] = [_Installed(each._path) for each in found]  # type: ignore[attr-defined]
            for each in known[folder]:
                if any(point.group == PLUGINS for point in each.entry_points):
                    _ = each.files, each.metadata

    def distributions(**options: Any) -> Iterator[Any]:
        if options:
            return iter([*read(**options)])
        return (each for folder in sys.path for each in known.get(folder) or read(path=[folder]))

    vars(importlib.metadata)["distributions"] = distributions


def prepare_session(arguments: list[str]) -> None:
    """Patch pytest: the one session of a process, with these arguments or more, finds pytest's plugins registered."""
    real: Any = pytest_config.get_config
    prepared: Any = real(arguments, None)

    def get_config(args: Any = None, plugins: Any = None, **options: Any) -> Any:
        if _excluded(args) != _excluded(arguments):
            return real(args, plugins, **options)
        prepared.invocation_params = pytest_config.Config.InvocationParams(args=args, plugins=plugins, dir=Path.cwd())
        return prepared

    vars(pytest_config)["get_config"] = get_config


def _excluded(arguments: list[str] | None) -> list[str]:
    """The plugins that arguments exclude, and all that follows a lone `-p`."""
    given = arguments or []
    return [each for n, each in enumerate(given) if each.startswith("-p") or (n and given[n - 1] == "-p")]


def skim_plugins() -> None:
    """Patch pytest and pluggy: they find fixtures and hooks of pytest's plugins without examining every attribute.

    Examining every attribute takes a fifth of a session's time.
    """
    hook_attr: Any = getattr(pluggy._manager, "_static_hook_attr", None)

    def quick_hook_attr(plugin: object, name: str) -> Any:
        value = vars(plugin).get(name) if isinstance(plugin, ModuleType) else None
        return (value, value) if isinstance(value, FunctionType) else hook_attr(plugin, name)

    if hook_attr is not None:  # since pluggy 1.7
        vars(pluggy._manager)["_static_hook_attr"] = quick_hook_attr
    definition: Any = getattr(fixtures, "FixtureFunctionDefinition", None)  # since pytest 8.4
    manager: Any = fixtures.FixtureManager
    registered = manager.pytest_plugin_registered

    def skim(plugin: object) -> object:
        kind = plugin if isinstance(plugin, ModuleType) else type(plugin)
        if definition is None or not getattr(kind, "__module__", kind.__name__).startswith(("_pytest.", "kelp.")):
            return plugin
        if isinstance(kind, type):  # plugins that are objects have methods only
            return ModuleType(kind.__module__)
        only = ModuleType(kind.__name__)
        vars(only).update((name, value) for name, value in vars(kind).items() if type(value) is definition)
        return only

    def pytest_plugin_registered(self: Any, plugin: object, plugin_name: str) -> None:
        registered(self, skim(plugin), plugin_name)

    manager.pytest_plugin_registered = pytest_plugin_registered
