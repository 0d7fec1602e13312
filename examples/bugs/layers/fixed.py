"""Settings in layers: defaults, then the site's, then the user's."""

import copy
from collections.abc import Mapping
from typing import Any

Settings = dict[str, Any]


def _lay_over(below: Settings, above: Mapping[str, Any]) -> None:
    """Change the settings below by those above."""
    for name, value in above.items():
        if value is None:
            below.pop(name, None)
        elif isinstance(value, dict) and isinstance(below.get(name), dict):
            _lay_over(below[name], value)
        else:
            below[name] = copy.deepcopy(value)


def effective(defaults: Settings, *layers: Mapping[str, Any]) -> Settings:
    """The defaults with the layers on top, each over those before it. What was given stays as it is.

    Dicts are merged, other values replaced; None takes a setting away.
    """
    settings = copy.deepcopy(defaults)
    for layer in layers:
        _lay_over(settings, layer)
    return settings


def lookup(settings: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The setting at a path such as "db.pool.size"."""
    value: Any = settings
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value
