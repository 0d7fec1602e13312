from audit import Change, changes


def test_a_new_value():
    assert changes({"name": "Ann", "age": 7}, {"name": "Anna", "age": 7}) == [Change("name", "Ann", "Anna")]


def test_a_new_field():
    assert changes({}, {"phone": "123"}) == [Change("phone", None, "123")]


def test_some_fields_do_not_count():
    assert changes({"revision": 1}, {"revision": 2}) == []
