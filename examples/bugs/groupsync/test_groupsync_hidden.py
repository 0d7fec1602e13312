import pytest

from groupsync import Plan, apply_plan, normalise, plan_sync


def test_both_at_once():
    assert plan_sync(["ann", "bob", "dan"], ["ann", "cem"]) == Plan(("bob", "dan"), ("cem",))
    assert plan_sync(["a"], ["b"]) == Plan(("a",), ("b",))


def test_from_and_to_nobody():
    assert plan_sync(["b", "a"], []) == Plan(("a", "b"), ())
    assert plan_sync([], ["b", "a"]) == Plan((), ("a", "b"))
    assert plan_sync([], []).is_empty


def test_protected_members_stay():
    assert plan_sync([], ["root", "ann"], protected=["root"]) == Plan((), ("ann",))
    assert plan_sync(["ann"], ["Root", "ann"], protected=["ROOT"]).is_empty


def test_protected_people_are_not_made_members():
    assert plan_sync(["ann"], ["ann"], protected=["root"]).is_empty
    assert plan_sync(["ann", "root"], ["ann"], protected=["root"]) == Plan(("root",), ())


def test_spelling_does_not_matter():
    assert plan_sync(["Ann", " bob"], ["ANN", "bob "]).is_empty
    assert plan_sync(["Ann", "ann "], []) == Plan(("ann",), ())
    assert normalise(["", " ", "A"]) == {"a"}


def test_too_many_removals():
    members = [f"user{n}" for n in range(51)]
    with pytest.raises(ValueError, match="51 members"):
        plan_sync([], members)
    assert len(plan_sync([], members[1:]).remove) == 50
    assert len(plan_sync(members, []).add) == 51
    with pytest.raises(ValueError, match="at most 0"):
        plan_sync([], ["ann"], limit=0)


def test_plans_do_what_they_say():
    for wanted, members in (("abc", "bcd"), ("", "ab"), ("ab", ""), ("abc", "def")):
        plan = plan_sync(wanted, members)
        assert apply_plan(members, plan) == set(wanted)
        assert not set(plan.add) & set(members)
        assert set(plan.remove) <= set(members)
