"""Environments of a program's project: `.venv`, and those that uv, PDM and Poetry keep elsewhere.

The packages of an environment run outside of the sandbox, and nobody has asked for these.  So one is left out if it
belongs to another user, comes with the repository, or has an executable of its own in place of a link to one.  They are
found by files alone: no tool is run, since a project's settings may tell it to run code.
"""

import base64
import hashlib
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kelp.execution.worker.folders import project_root

_SECONDS = 30.0  # that git may take


def environments(program: Path) -> Iterator[str]:
    """Yield the environments beside and above a program, up to the root of its project, the nearest first."""
    root = Path(project_root(str(program)))
    for folder in program.parents:
        named = os.environ.get("UV_PROJECT_ENVIRONMENT")
        if named and (folder / "pyproject.toml").is_file() and os.path.lexists(folder / named / "bin" / "python"):
            yield str(folder / named)  # which somebody has asked for
        for environment in (*_of_pdm(folder), folder / ".venv", folder / "venv", *_of_poetry(folder)):
            if (environment / "pyvenv.cfg").is_file() and _is_ours(environment) and not _is_tracked(environment):
                yield str(environment)
        if folder == root:
            return


def _of_pdm(folder: Path) -> Iterator[Path]:
    """The environment of the Python that PDM has written down, wherever it is."""
    note = folder / ".pdm-python"
    if note.is_file() and note.stat().st_uid in (0, os.getuid()) and not _is_tracked(note):
        yield Path(_text(note).strip()).parent.parent


def _of_poetry(folder: Path) -> Iterator[Path]:
    """The environments that Poetry keeps for a project in one folder of the user, the one in use first.

    Their names end with the first eight characters of the SHA-256 (URL-safe base64) of the project's path, and the
    version of their Python (`EnvManager.generate_env_name` of Poetry 1.0 to 2.2).
    """
    if not (folder / "poetry.lock").is_file() and "[tool.poetry" not in _text(folder / "pyproject.toml"):
        return
    digest = hashlib.sha256(os.path.realpath(folder).encode()).digest()
    mark = "-" + base64.urlsafe_b64encode(digest).decode()[:8]
    place = _poetry_folder()
    chosen = next((str(facts.get("minor")) for name, facts in _toml(place / "envs.toml").items() if mark in name), "")
    found = [path for path in place.glob("*") if f"{mark}-py" in path.name]
    yield from sorted(found, key=lambda path: (path.name.endswith(f"-py{chosen}"), _version(path)), reverse=True)


def _poetry_folder() -> Path:
    """The folder of Poetry's environments, as the user's variables and settings say."""
    home = Path.home()
    settings = Path(os.environ.get("POETRY_CONFIG_DIR") or _xdg("XDG_CONFIG_HOME", home / ".config") / "pypoetry")
    written = _toml(settings / "config.toml")
    cache = os.environ.get("POETRY_CACHE_DIR") or written.get("cache-dir")
    cache = str(cache or _xdg("XDG_CACHE_HOME", home / ".cache") / "pypoetry")
    path = os.environ.get("POETRY_VIRTUALENVS_PATH") or written.get("virtualenvs", {}).get("path")
    return Path(str(path or "{cache-dir}/virtualenvs").replace("{cache-dir}", cache)).expanduser()


def _xdg(name: str, default: Path) -> Path:
    return Path(os.environ.get(name) or default)


def _version(environment: Path) -> list[int]:
    return [int(part) for part in environment.name.rpartition("-py")[2].split(".") if part.isdigit()]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _is_ours(environment: Path) -> bool:
    """Return whether this user or root has made the folder, and its executable lies outside of it."""
    python = environment / "bin" / "python"
    owners = {place.stat().st_uid for place in (environment, environment / "pyvenv.cfg", python) if place.exists()}
    return owners <= {0, os.getuid()} and environment.resolve() not in python.resolve().parents


def _is_tracked(path: Path) -> bool:
    """Return whether a Git repository holds the file, or files of the folder."""
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "--", path.name]
    try:
        done = subprocess.run(command, cwd=path.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(done.stdout)
