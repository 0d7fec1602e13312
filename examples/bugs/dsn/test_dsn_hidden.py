import pytest

from dsn import Address, parse_address, shown


def test_the_least():
    assert parse_address("redis://cache") == Address("redis", "cache", 6379)
    assert parse_address("redis://cache/0").name == "0"
    assert parse_address("redis://") == Address("redis", "localhost", 6379)


def test_without_a_login():
    address = parse_address("postgres://db.local:5433/shop")
    assert (address.host, address.port, address.user, address.password) == ("db.local", 5433, "", "")


def test_without_a_password():
    address = parse_address("postgres://ann@db")
    assert (address.host, address.user, address.password) == ("db", "ann", "")


def test_without_a_user():
    address = parse_address("redis://:pw@cache:1")
    assert (address.host, address.port, address.user, address.password) == ("cache", 1, "", "pw")


@pytest.mark.parametrize("password", ["p@ss", "@", "@@", "a:b", "a:b@c:d", "x@host:99", "p=1&q", "#"])
def test_passwords_as_they_are(password):
    address = parse_address(f"mysql://ann:{password}@db.local:3307/shop")
    assert (address.user, address.password) == ("ann", password)
    assert (address.host, address.port, address.name) == ("db.local", 3307, "shop")


def test_options():
    assert parse_address("postgres://db/shop?a=1&b=x=y&c").options == {"a": "1", "b": "x=y", "c": ""}
    assert parse_address("postgres://db/shop?to=a@b").options == {"to": "a@b"}
    assert parse_address("postgres://db/shop?to=a@b").host == "db"


def test_passwords_are_not_shown():
    assert shown("postgres://ann:s3cr@t@db/shop?password=x") == "postgres://ann@db:5432/shop"
    assert shown("redis://:pw@cache") == "redis://cache:6379/"


def test_other_text_is_refused_without_showing_it():
    for text in ("ann:pw@db", "oracle://ann:pw@db", ""):
        with pytest.raises(ValueError, match="scheme") as refused:
            parse_address(text)
        assert "pw" not in str(refused.value)
