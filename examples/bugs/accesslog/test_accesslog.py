from accesslog import error_rates


def line(path, status):
    return f'10.0.0.1 - - [01/May/2024:12:00:00 +0000] "GET {path} HTTP/1.1" {status} 512'


def test_server_errors_are_counted():
    assert error_rates([line("/a", 200), line("/a?x=1", 503), line("/b", 200)]) == {"/a": 0.5, "/b": 0.0}


def test_what_is_not_there_is_no_error_of_the_server():
    assert error_rates([line("/a", 404), line("/a", 200)]) == {"/a": 0.0}


def test_rare_paths_are_left_out():
    assert error_rates([line("/a", 200), line("/b", 500)], at_least=2) == {}
