"""Settings of a project: the table `[tool.kelp]` of its pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kelp.errors import KelpError

Positive = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Values for options that the command line leaves out; None: the command's own default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=lambda name: name.replace("_", "-")
    )

    test_command: Annotated[str, Field(min_length=1)] | None = None
    python: str | None = None  # relative to the project, where it is a path
    exclude: list[str] = []  # patterns of paths that are never edited
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    max_runs: Positive | None = None
    max_edits: Positive | None = None
    patches: Positive | None = None
    model: str | None = None


def settings_of(root: Path) -> Settings:
    """Read the settings of a project. Raises KelpError."""
    path = root / "pyproject.toml"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise KelpError(f"{path} cannot be read: {error}") from None
    if "[tool.kelp" not in text:  # other tools report errors in the rest
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(text)["tool"]["kelp"])
    except tomllib.TOMLDecodeError as error:
        raise KelpError(f"{path} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(str(field.alias) for field in Settings.model_fields.values())
            raise KelpError(f"{path}: [tool.kelp] has no key {key}", f"there are {known}") from None
        raise KelpError(f"{path}: {key} in [tool.kelp]: {first['msg'].lower()}") from None
