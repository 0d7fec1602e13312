"""Secrets do not belong into logs."""

import re
from typing import Any

MASK = "***"
SECRET_NAMES = ("password", "passwd", "secret", "token", "apikey")
URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


def is_secret(name: object) -> bool:
    """Whether the name of a field says that its value is a secret: "apiKey", "DB_PASSWORD"."""
    plain = re.sub(r"[^a-z]", "", str(name).lower())
    return any(word in plain for word in SECRET_NAMES)


def redact(value: Any) -> Any:
    """A copy of the value with secrets masked, however deep they lie in dicts, lists and tuples.

    Login names and passwords in addresses ("https://me:pw@host") are masked too. An empty secret is
    left as it is: that it is empty is worth knowing.
    """
    if isinstance(value, dict):
        copy = {}
        for name, item in value.items():
            if is_secret(name) and item:
                copy[name] = MASK
            else:
                copy[name] = redact(item)
        return copy
    if isinstance(value, list | tuple):
        return type(value)(redact(item) for item in value)
    if isinstance(value, str):
        return URL_LOGIN.sub(f"{MASK}@", value)
    return value
