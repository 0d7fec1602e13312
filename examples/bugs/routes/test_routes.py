from routes import find_service

TABLE = {"/api": "gateway", "/api/users": "accounts", "/static": "files"}


def test_a_prefix_covers_what_lies_below_it():
    assert find_service("/static/logo.png", TABLE) == "files"
    assert find_service("/api", TABLE) == "gateway"


def test_words_are_whole():
    assert find_service("/apis/x", TABLE, "front") == "front"


def test_the_longest_prefix_wins():
    assert find_service("/api/users/7", TABLE) == "accounts"
