"""Groups of a service are kept in line with the company's directory."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Members to add and to remove, sorted."""

    add: tuple[str, ...]
    remove: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.add and not self.remove


def normalise(names: Iterable[str]) -> set[str]:
    """Names as the service knows them: in lower case, without spaces around; empty ones are none."""
    return {name.strip().lower() for name in names} - {""}


def plan_sync(
    wanted: Iterable[str], members: Iterable[str], protected: Collection[str] = (), limit: int = 50
) -> Plan:
    """What to do so that the members are those who are wanted. Protected members are never removed.

    Raises ValueError where more than `limit` would be removed: then the directory is probably broken.
    """
    should, are = normalise(wanted), normalise(members)
    add = should.difference(are)
    remove = are.difference(should, normalise(protected))
    if len(remove) > limit:
        raise ValueError(f"{len(remove)} members would be removed, and at most {limit} may be")
    return Plan(tuple(sorted(add)), tuple(sorted(remove)))


def apply_plan(members: Iterable[str], plan: Plan) -> set[str]:
    """The members after a plan was carried out."""
    return normalise(members).union(plan.add).difference(plan.remove)
