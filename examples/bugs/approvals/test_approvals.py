from approvals import Change, may_merge

OWNERS = {"api/*": ["ann", "bob"], "docs/*": ["cem"]}


def test_an_owner_has_approved():
    assert may_merge(Change("dan", ("api/users.py",), (("ann", "approve"),)), OWNERS)


def test_an_objection_stops_it():
    reviews = (("ann", "approve"), ("bob", "reject"))
    assert not may_merge(Change("dan", ("api/users.py",), reviews), OWNERS)


def test_every_owner_is_asked():
    assert not may_merge(Change("dan", ("api/users.py", "docs/api.md"), (("ann", "approve"),)), OWNERS)
