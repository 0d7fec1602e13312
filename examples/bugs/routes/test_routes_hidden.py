import itertools

from routes import covers, find_service, unreachable

TABLE = {"/": "front", "/api": "gateway", "/api/users": "accounts", "/api/users/photos/": "images"}


def test_the_order_of_the_table_does_not_matter():
    for entries in itertools.permutations(TABLE.items()):
        table = dict(entries)
        assert find_service("/", table) == "front"
        assert find_service("/about", table) == "front"
        assert find_service("/api/orders", table) == "gateway"
        assert find_service("/api/users", table) == "accounts"
        assert find_service("/api/users/7", table) == "accounts"
        assert find_service("/api/users/photos/7.png", table) == "images"


def test_queries_do_not_count():
    assert find_service("/api?next=/api/users/photos/", TABLE) == "gateway"


def test_without_a_match_there_is_the_default():
    assert find_service("/x", {"/api": "gateway"}) is None
    assert find_service("/x", {"/api": "gateway"}, "front") == "front"
    assert find_service("/x", {}, "front") == "front"


def test_covering():
    assert covers("/a/", "/a/b")
    assert covers("/a/", "/a/")
    assert not covers("/a", "/ab")
    assert not covers("/a/b", "/a")


def test_services_that_nothing_leads_to():
    assert unreachable(TABLE, ["/api/users/7", "/"]) == {"gateway", "images"}
    assert unreachable(TABLE, ["/x", "/api/x", "/api/users/x", "/api/users/photos/x"]) == set()
