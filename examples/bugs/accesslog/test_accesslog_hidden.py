from accesslog import error_rates, in_trouble, requests


def lines(*found):
    return [f'10.0.0.1 - - [01/May/2024:12:00:00 +0000] "{what} HTTP/1.1" {status} 512' for what, status in found]


def rate(*statuses):
    return error_rates(lines(*(("GET /", status) for status in statuses)))["/"]


def test_every_status_of_the_server_counts():
    assert rate(500) == 1.0
    assert rate(502, 200) == 0.5
    assert rate(599, 500, 200, 200) == 0.5


def test_no_other_status_does():
    assert rate(200, 301, 304) == 0.0
    assert rate(400, 401, 403, 404) == 0.0
    assert rate(429, 451, 499) == 0.0


def test_client_errors_are_requests():
    assert rate(500, 404) == 0.5
    assert rate(503, 499, 400, 200) == 0.25


def test_queries_do_not_make_a_path():
    assert error_rates(lines(("GET /a?b=1", 500), ("POST /a", 200))) == {"/a": 0.5}


def test_requests_are_found():
    assert list(requests(lines(("GET /a?b", 200), ("DELETE /b", 404)) + ["rubbish", ""])) == [("/a", 200), ("/b", 404)]


def test_paths_with_few_requests():
    found = lines(("GET /a", 500), ("GET /b", 200), ("GET /b", 500))
    assert error_rates(found, at_least=2) == {"/b": 0.5}
    assert error_rates(found, at_least=3) == {}


def test_those_in_trouble_the_worst_first():
    found = lines(
        ("GET /a", 500), ("GET /a", 200), ("GET /b", 500), ("GET /c", 404), ("GET /d", 500), ("GET /e", 200)
    )
    assert in_trouble(found) == ["/b", "/d", "/a"]
    assert in_trouble(found, limit=0.5) == ["/b", "/d"]
    assert in_trouble(lines(("GET /c", 404))) == []
