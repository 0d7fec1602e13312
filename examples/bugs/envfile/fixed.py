"""Settings from .env files: NAME=value, one a line."""

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_value(text: str) -> str:
    """A value as it was meant: without its quotes, or without the comment behind it."""
    text = text.strip()
    if len(text) >= 2 and text[0] in "'\"":
        closing = text.find(text[0], 1)
        if closing > 0:
            return text[1:closing]
    return text.split(" #")[0].rstrip()


def parse_env(text: str) -> dict[str, str]:
    """The settings of a file; the last one counts where a name comes twice.

    Empty lines and comments are skipped, "export " may stand before a name, and a value may be
    in quotes. "NAME=" sets an empty value, which is not the same as not setting it.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not NAME.fullmatch(name):
            raise ValueError(f"line {number} is no setting: {line!r}")
        settings[name] = parse_value(value)
    return settings


def overridden(defaults: dict[str, str], text: str) -> dict[str, str]:
    """The defaults with the settings of a file on top."""
    return {**defaults, **parse_env(text)}
