"""The audit trail: who changed what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

NEVER_LOGGED = frozenset({"updated_at", "revision"})


@dataclass(frozen=True)
class Change:
    """A field with its values before and after; None where it was not set."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.field} set to {self.after!r}"
        if self.after is None:
            return f"{self.field} removed (was {self.before!r})"
        return f"{self.field} changed from {self.before!r} to {self.after!r}"


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], ignore: Collection[str] = NEVER_LOGGED
) -> list[Change]:
    """The fields that differ, by name; a field that is missing is as good as one that is None."""
    found = []
    for field in sorted({*before, *after}):
        if field in ignore:
            continue
        old, new = before.get(field), after.get(field)
        if old and new and old != new:
            found.append(Change(field, old, new))
    return found


def summary(user: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """One line for the trail; empty if nothing has changed."""
    found = changes(before, after)
    return f"{user}: " + "; ".join(map(str, found)) if found else ""
