"""Folder of imported models: `kelp/models` in the user's cache folder, a folder a model."""

import os
from pathlib import Path


def models_folder() -> Path:
    """The folder that imported models are in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kelp" / "models"


def imported() -> dict[str, Path]:
    """Folders of the imported models by name, in order."""
    found = sorted(models_folder().glob("*/config.json"))
    return {path.parent.name: path.parent for path in found if not path.parent.name.startswith(".")}


def find(name: str | Path) -> Path:
    """The folder of a model given by path or by the name of an imported one; the path as it is where there is neither.

    A folder of that name in the working folder comes first.
    """
    path = Path(name)
    if len(path.parts) == 1 and not (path / "config.json").is_file():
        return imported().get(path.name, path)
    return path
