"""Access rules: who may do what with which path."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Rule:
    """Allows or denies an action ("*" is any) on the paths of a pattern to some roles."""

    effect: str
    roles: frozenset[str]
    action: str
    pattern: str

    def applies(self, roles: Collection[str], action: str, path: str) -> bool:
        if not self.roles.intersection(roles):
            return False
        return self.action in ("*", action) and fnmatchcase(path, self.pattern)


def is_allowed(rules: Iterable[Rule], roles: Collection[str], action: str, path: str) -> bool:
    """Whether one of the roles may do this.

    A rule that denies wins over every rule that allows, in whatever order they come.
    What no rule speaks of is not allowed.
    """
    allowed = False
    for rule in rules:
        if not rule.applies(roles, action, path):
            continue
        allowed = rule.effect == "allow"
    return allowed


def visible_paths(rules: Collection[Rule], roles: Collection[str], paths: Iterable[str]) -> list[str]:
    """The paths that one of the roles may read, in their order."""
    return [path for path in paths if is_allowed(rules, roles, "read", path)]
