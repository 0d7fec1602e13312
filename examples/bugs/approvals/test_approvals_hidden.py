from approvals import Change, approvers, may_merge, owners_needed

OWNERS = {"api/*": ["ann", "bob"], "docs/*": ["cem", "dan"], "*.sql": ["eve"]}


def merges(files, *approvals, author="zoe", rejects=(), at_least=1):
    reviews = [(person, "approve") for person in approvals] + [(person, "reject") for person in rejects]
    return may_merge(Change(author, tuple(files), tuple(reviews)), OWNERS, at_least)


def test_one_owner_of_each_pattern_is_enough():
    assert merges(["api/a.py"], "bob")
    assert merges(["api/a.py", "docs/a.md"], "bob", "cem")
    assert merges(["api/a.py", "docs/a.md", "new.sql"], "ann", "dan", "eve")


def test_none_may_be_missing():
    assert not merges(["api/a.py", "docs/a.md"], "ann", "bob")
    assert not merges(["api/a.py", "docs/a.md", "new.sql"], "ann", "dan")
    assert not merges(["api/new.sql"], "ann")
    assert merges(["api/new.sql"], "ann", "eve")


def test_files_that_nobody_owns_need_anybody():
    assert merges(["README"], "kim")
    assert not merges(["README"])
    assert merges(["README"], at_least=0)


def test_the_number_of_approvals():
    assert not merges(["api/a.py"], "ann", at_least=2)
    assert merges(["api/a.py"], "ann", "kim", at_least=2)
    assert not merges(["api/a.py"], "lee", "kim", at_least=2)


def test_nobody_approves_their_own():
    assert not merges(["api/a.py"], "ann", author="ann")
    assert merges(["api/a.py"], "ann", "bob", author="ann")
    assert not merges(["api/a.py", "docs/a.md"], "ann", "cem", author="ann")


def test_objections():
    assert not merges(["api/a.py"], "ann", rejects=["kim"])


def test_the_last_verdict_counts():
    first_no = Change("zoe", ("api/a.py",), (("ann", "reject"), ("ann", "approve")))
    first_yes = Change("zoe", ("api/a.py",), (("ann", "approve"), ("ann", "comment")))
    assert may_merge(first_no, OWNERS)
    assert not may_merge(first_yes, OWNERS)
    assert approvers(first_no) == {"ann"}
    assert approvers(first_yes) == set()


def test_who_is_needed():
    assert owners_needed(["api/a.sql"], OWNERS) == [["ann", "bob"], ["eve"]]
    assert owners_needed(["x"], OWNERS) == []
