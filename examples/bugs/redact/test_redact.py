from redact import redact


def test_secrets_are_masked():
    assert redact({"user": "ann", "password": "x"}) == {"user": "ann", "password": "***"}


def test_secrets_deep_inside_are_masked():
    assert redact({"db": {"auth": {"apiKey": "k"}}}) == {"db": {"auth": {"apiKey": "***"}}}


def test_addresses_are_masked():
    assert redact("see https://ann:pw@example.org/x") == "see https://***@example.org/x"


def test_lists_are_looked_into():
    assert redact([{"token": "t", "id": 7}]) == [{"token": "***", "id": 7}]
