"""Which service answers a request."""

from collections.abc import Iterable, Mapping


def covers(prefix: str, path: str) -> bool:
    """Whether a path is the prefix itself or lies below it: "/api" covers "/api/users" but not "/apis"."""
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


def find_service(path: str, table: Mapping[str, str], default: str | None = None) -> str | None:
    """The service with the longest prefix that covers the path, in whatever order the table is written."""
    path = path.partition("?")[0]
    best = None
    for prefix in table:
        if not covers(prefix, path):
            continue
        if best is None or len(prefix) > len(best):
            best = prefix
    return default if best is None else table[best]


def unreachable(table: Mapping[str, str], paths: Iterable[str]) -> set[str]:
    """The services that none of these paths leads to."""
    reached = {find_service(path, table) for path in paths}
    return {service for service in table.values() if service not in reached}
