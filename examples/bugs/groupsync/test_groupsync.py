from groupsync import Plan, plan_sync


def test_newcomers_are_added():
    assert plan_sync(["ann", "bob"], ["ann"]) == Plan(add=("bob",), remove=())


def test_those_who_left_are_removed():
    assert plan_sync(["ann"], ["ann", "cem"]) == Plan(add=(), remove=("cem",))


def test_nothing_to_do():
    assert plan_sync(["Ann "], ["ann"]).is_empty
