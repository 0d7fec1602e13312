from envfile import overridden, parse_env


def test_settings_and_comments():
    text = "# web\nHOST=localhost\n\nexport PORT = 8080 # as always\n"
    assert parse_env(text) == {"HOST": "localhost", "PORT": "8080"}


def test_quotes():
    assert parse_env("MOTTO='one # two'\n") == {"MOTTO": "one # two"}


def test_an_empty_value_overrides():
    assert overridden({"PREFIX": "/app", "HOST": "a"}, "PREFIX=\n") == {"PREFIX": "", "HOST": "a"}
