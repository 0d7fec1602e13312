from audit import Change, changes, summary


def test_equal_records_have_no_changes():
    assert changes({"a": 1}, {"a": 1}) == []
    assert changes({}, {}) == []


def test_fields_come_and_go():
    assert changes({"a": 1}, {}) == [Change("a", 1, None)]
    assert changes({}, {"a": 1}) == [Change("a", None, 1)]


def test_values_that_are_false_are_values():
    assert changes({"stock": 5}, {"stock": 0}) == [Change("stock", 5, 0)]
    assert changes({"stock": 0}, {"stock": 5}) == [Change("stock", 0, 5)]
    assert changes({"note": "x"}, {"note": ""}) == [Change("note", "x", "")]
    assert changes({"active": True}, {"active": False}) == [Change("active", True, False)]
    assert changes({}, {"active": False}) == [Change("active", None, False)]
    assert changes({"note": ""}, {}) == [Change("note", "", None)]


def test_missing_and_none_are_the_same():
    assert changes({"a": None}, {}) == []
    assert changes({}, {"a": None}) == []


def test_changes_are_sorted_by_field():
    assert [c.field for c in changes({"c": 1, "a": 1}, {"b": 1, "a": 0})] == ["a", "b", "c"]


def test_what_is_ignored_can_be_chosen():
    assert changes({"a": 1, "revision": 1}, {"a": 2, "revision": 2}, ignore={"a"}) == [Change("revision", 1, 2)]
    assert changes({"updated_at": 1}, {}) == []


def test_the_line_for_the_trail():
    assert summary("ann", {"a": 1, "b": 0}, {"b": 2, "c": "x"}) == (
        "ann: a removed (was 1); b changed from 0 to 2; c set to 'x'"
    )
    assert summary("ann", {"a": 1}, {"a": 1, "revision": 9}) == ""
