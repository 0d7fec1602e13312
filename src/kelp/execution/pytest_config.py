"""pytest's configuration, made once in the server and inherited by every child.

No code of the project takes part in the server's half. The conftest.py files, which are the project's, are left to the
child, which is confined.
"""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest import config as pytest_config

_SETTINGS = "pytest.toml .pytest.toml pytest.ini .pytest.ini pyproject.toml tox.ini setup.cfg conftest.py".split()
_OPTIONS = (b"pytest_addoption", b"pytest_plugins")  # a conftest.py with these changes what the arguments mean


@dataclass(frozen=True)
class Configured:
    """A configuration for the child that inherits it to use once."""

    arguments: list[str]
    config: Any
    load_conftests: Any  # the hook that was put off
    path: list[str]  # what pytest has put at the front of the import path
    finders: list[Any]  # and of the finders of modules
    stamps: dict[str, tuple[int, int]]

    def main(self, plugin: object, *, max_failures: int, collect_only: bool) -> int:
        """Go on from there as `pytest.main` would; the exit status."""
        config = self.config
        config.option.maxfail, config.option.collectonly = max_failures, collect_only
        manager = config.pluginmanager
        sys.path[:0], sys.meta_path[:0] = self.path, self.finders
        os.environ["PYTEST_VERSION"] = pytest.__version__
        manager.hook.pytest_load_initial_conftests = self.load_conftests
        try:
            manager.unblock("warnings")
            manager.import_plugin("warnings")
            manager.register(plugin)
            self.load_conftests(early_config=config, args=[*self.arguments], parser=config._parser)
            return int(config.hook.pytest_cmdline_main(config=config))
        except (pytest.UsageError, pytest_config.ConftestImportFailure) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            return int(pytest.ExitCode.USAGE_ERROR)
        finally:
            config._ensure_unconfigure()


class _Path(list[str]):
    """An import path that keeps what is put before it aside: folders of the project."""

    def __init__(self, folders: list[str]):
        super().__init__(folders)
        self.before: list[str] = []

    def insert(self, index: Any, folder: str) -> None:
        self.before.insert(index, folder)


class _Late:
    """Puts off the hook that loads the conftest.py files."""

    load_conftests: Any = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_parse(self, pluginmanager: Any) -> None:
        self.load_conftests = pluginmanager.hook.pytest_load_initial_conftests
        pluginmanager.hook.pytest_load_initial_conftests = lambda **_: None


def configure(arguments: list[str], files: list[str]) -> Configured | None:
    """In the server: what the arguments come to; None where the project adds its own, or this pytest is another kind.

    It loads no plugins but pytest's own: PYTEST_DISABLE_PLUGIN_AUTOLOAD is set, and the arguments name none. That of
    warnings has to wait, since what the project filters are classes that are imported.
    """
    stamps = _stamps(files)
    if stamps is None or "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ:
        return None
    path, finders, late = sys.path, sys.meta_path[:], _Late()
    sys.path = kept = _Path(path)
    try:
        config: Any = pytest_config._prepareconfig([*arguments, "-pno:warnings"], [late])
        found = [finder for finder in sys.meta_path if finder not in finders]
        return Configured(arguments, config, late.load_conftests, kept.before, found, stamps)
    except (Exception, SystemExit):  # comes up again in the child, and is reported there
        return None
    finally:
        sys.path, sys.meta_path[:] = path, finders


def unchanged(configured: Configured | None, files: list[str]) -> Configured | None:
    """The configuration, unless a file that had a part in it has changed."""
    return configured if configured is not None and configured.stamps == _stamps(files) else None


def _stamps(files: list[str]) -> dict[str, tuple[int, int]] | None:
    """When the files that may hold settings were changed; None where one of them adds options to pytest's own."""
    found = {}
    for folder in {parent for file in files for parent in Path(file).parents}:
        for name in _SETTINGS:
            path = Path(folder, name)
            try:
                status = path.stat()
                text = path.read_bytes() if name == "conftest.py" and stat.S_ISREG(status.st_mode) else b""
            except OSError:
                continue
            if any(word in text for word in _OPTIONS):
                return None
            found[str(path)] = status.st_mtime_ns, status.st_size
    return found
