from permissions import Rule, is_allowed

STAFF = Rule("allow", frozenset({"staff"}), "*", "/reports/*")
NO_SALARIES = Rule("deny", frozenset({"staff"}), "*", "/reports/salaries/*")


def test_staff_may_read_reports():
    assert is_allowed([STAFF], {"staff"}, "read", "/reports/q1.pdf")
    assert not is_allowed([STAFF], {"guest"}, "read", "/reports/q1.pdf")


def test_denied_first():
    assert not is_allowed([NO_SALARIES, STAFF], {"staff"}, "read", "/reports/salaries/may.csv")


def test_denied_later():
    assert not is_allowed([STAFF, NO_SALARIES], {"staff"}, "read", "/reports/salaries/may.csv")
