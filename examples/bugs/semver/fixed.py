"""Order releases by semantic version: 1.4.0-rc.2 comes before 1.4.0."""

import re
from collections.abc import Iterable
from typing import Any

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def version_key(text: str) -> tuple[Any, ...]:
    """A sort key for one version. Build metadata ("+...") does not count.

    A pre-release comes before its release. Of its identifiers, numbers are compared as numbers, and before words.
    """
    match = VERSION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a semantic version: {text!r}")
    major, minor, patch, pre = match.groups()
    identifiers = []
    for part in (pre or "").split("."):
        if part.isdigit():
            identifiers.append((0, int(part), ""))
        else:
            identifiers.append((1, 0, part))
    return int(major), int(minor), int(patch), pre is None, tuple(identifiers)


def latest(versions: Iterable[str], allow_pre: bool = False) -> str | None:
    """The newest version, pre-releases only on request; None if there is none."""
    candidates = [version for version in versions if allow_pre or "-" not in version.partition("+")[0]]
    return max(candidates, key=version_key, default=None)
