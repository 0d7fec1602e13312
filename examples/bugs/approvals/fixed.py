"""Who has to approve a change before it may be merged."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Change:
    """A proposed change: its author, the files it touches, and the reviews as (person, verdict), the last one last."""

    author: str
    files: tuple[str, ...]
    reviews: tuple[tuple[str, str], ...] = field(default=())


def approvers(change: Change) -> set[str]:
    """Those whose last verdict is an approval; nobody approves a change of their own."""
    verdicts = dict(change.reviews)
    return {person for person, verdict in verdicts.items() if verdict == "approve" and person != change.author}


def owners_needed(files: Collection[str], owners: Mapping[str, Collection[str]]) -> list[Collection[str]]:
    """For every pattern that matches one of the files: those of whom one has to approve."""
    return [people for pattern, people in owners.items() if any(fnmatchcase(file, pattern) for file in files)]


def may_merge(change: Change, owners: Mapping[str, Collection[str]], at_least: int = 1) -> bool:
    """Whether enough people have approved, an owner of every pattern among them, and nobody objects."""
    if "reject" in dict(change.reviews).values():
        return False
    approved = approvers(change)
    if len(approved) < at_least:
        return False
    return all(approved.intersection(people) for people in owners_needed(change.files, owners))
