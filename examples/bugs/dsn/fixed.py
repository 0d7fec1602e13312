"""Addresses of databases: "postgres://user:password@host:port/name?option=value"."""

from dataclasses import dataclass, field

DEFAULT_PORTS = {"postgres": 5432, "mysql": 3306, "redis": 6379}


@dataclass(frozen=True)
class Address:
    """The parts of an address; empty where they are not given."""

    scheme: str
    host: str
    port: int
    name: str = ""
    user: str = ""
    password: str = ""
    options: dict[str, str] = field(default_factory=dict)


def parse_address(text: str) -> Address:
    """The parts of an address, with the scheme's usual port where none is given.

    Passwords are often pasted as they are, so they may hold any character but a slash and a question mark.
    """
    scheme, found, rest = text.partition("://")
    if not found or scheme not in DEFAULT_PORTS:
        raise ValueError(f"the scheme of a database address must be one of {', '.join(DEFAULT_PORTS)}")
    rest, _, query = rest.partition("?")
    login_and_host, _, name = rest.partition("/")
    login, _, place = login_and_host.rpartition("@")
    user, _, password = login.partition(":")
    host, _, port = place.partition(":")
    options = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    return Address(scheme, host or "localhost", int(port or DEFAULT_PORTS[scheme]), name, user, password, options)


def shown(text: str) -> str:
    """The address as it may be logged: without the password and the options."""
    address = parse_address(text)
    login = f"{address.user}@" if address.user else ""
    return f"{address.scheme}://{login}{address.host}:{address.port}/{address.name}"
