import itertools

from permissions import Rule, is_allowed, visible_paths

READ = Rule("allow", frozenset({"staff", "audit"}), "read", "/reports/*")
ALL = Rule("allow", frozenset({"admin"}), "*", "*")
NO_SALARIES = Rule("deny", frozenset({"staff"}), "*", "/reports/salaries/*")
NO_DELETE = Rule("deny", frozenset({"admin", "staff"}), "delete", "/reports/*")
RULES = [READ, ALL, NO_SALARIES, NO_DELETE]


def test_the_order_of_rules_does_not_matter():
    for rules in itertools.permutations(RULES):
        assert is_allowed(rules, {"staff"}, "read", "/reports/q1.pdf")
        assert not is_allowed(rules, {"staff"}, "read", "/reports/salaries/may.csv")
        assert not is_allowed(rules, {"admin"}, "delete", "/reports/q1.pdf")
        assert is_allowed(rules, {"admin"}, "delete", "/tmp/x")


def test_a_rule_for_another_action_does_not_deny():
    assert is_allowed(RULES, {"admin"}, "write", "/reports/q1.pdf")


def test_a_role_that_is_denied_spoils_another_that_is_allowed():
    assert is_allowed(RULES, {"audit"}, "read", "/reports/salaries/may.csv")
    assert not is_allowed(RULES, {"audit", "staff"}, "read", "/reports/salaries/may.csv")


def test_nothing_is_allowed_without_a_rule():
    assert not is_allowed([], {"admin"}, "read", "/x")
    assert not is_allowed(RULES, {"staff"}, "write", "/reports/q1.pdf")
    assert not is_allowed(RULES, set(), "read", "/reports/q1.pdf")


def test_a_deny_alone_allows_nothing():
    assert not is_allowed([NO_SALARIES], {"staff"}, "read", "/reports/q1.pdf")


def test_paths_are_filtered_in_order():
    paths = ["/reports/b", "/reports/salaries/a", "/etc", "/reports/a"]
    assert visible_paths(RULES, ["staff"], paths) == ["/reports/b", "/reports/a"]
