from redact import is_secret, redact


def test_names_are_known_in_every_spelling():
    assert all(map(is_secret, ["password", "DB_PASSWORD", "api-key", "clientSecret", "refresh_token"]))
    assert not any(map(is_secret, ["user", "keyboard", "pass", 7, None]))


def test_lists_in_dicts_in_lists():
    value = {"hosts": [{"name": "a", "token": "1"}, {"name": "b", "logins": [{"passwd": "x"}]}]}
    assert redact(value) == {"hosts": [{"name": "a", "token": "***"}, {"name": "b", "logins": [{"passwd": "***"}]}]}


def test_tuples_stay_tuples():
    assert redact(({"token": "1"}, 2)) == ({"token": "***"}, 2)
    assert redact([[], ()]) == [[], ()]


def test_addresses_in_lists():
    assert redact(["ftp://a:b@host", "plain"]) == ["ftp://***@host", "plain"]
    assert redact({"urls": ("redis://:pw@cache:6379/0",)}) == {"urls": ("redis://***@cache:6379/0",)}


def test_a_secret_is_masked_whatever_it_is():
    assert redact({"tokens": ["a", "b"]}) == {"tokens": "***"}
    assert redact({"secret": {"a": 1}}) == {"secret": "***"}
    assert redact({"secret": 42}) == {"secret": "***"}


def test_an_empty_secret_is_left():
    assert redact({"password": "", "token": None, "secret": []}) == {"password": "", "token": None, "secret": []}


def test_the_original_is_untouched():
    inner = {"token": "t"}
    value = {"list": [inner]}
    assert redact(value) == {"list": [{"token": "***"}]}
    assert value == {"list": [{"token": "t"}]}
    assert inner == {"token": "t"}


def test_other_values_are_left():
    assert redact(3.5) == 3.5
    assert redact(None) is None
    assert redact("mail ann@example.org") == "mail ann@example.org"
    assert redact({1: [True, b"x"]}) == {1: [True, b"x"]}
