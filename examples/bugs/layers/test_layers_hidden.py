import copy

from layers import effective, lookup

DEFAULTS = {"a": 1, "db": {"host": "x", "pool": {"size": 5, "hosts": ["x"]}}, "tags": ["a"]}


def unchanged(*layers):
    before = copy.deepcopy(layers)
    effective(*layers)
    return layers == before


def test_without_layers_there_are_the_defaults():
    assert effective(DEFAULTS) == DEFAULTS
    assert effective({}) == {}


def test_dicts_are_merged_at_every_depth():
    settings = effective(DEFAULTS, {"db": {"pool": {"size": 9}}})
    assert settings["db"] == {"host": "x", "pool": {"size": 9, "hosts": ["x"]}}


def test_lists_are_replaced():
    assert effective(DEFAULTS, {"tags": ["b"]})["tags"] == ["b"]
    assert effective({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert effective({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_none_takes_away():
    assert effective(DEFAULTS, {"db": {"pool": None}, "a": None}) == {"db": {"host": "x"}, "tags": ["a"]}
    assert effective({}, {"a": None}) == {}


def test_later_layers_win():
    assert effective({"a": 1}, {"a": 2}, {"a": 3}) == {"a": 3}
    assert effective({"a": 1}, {"a": None}, {"a": 3}) == {"a": 3}


def test_what_is_given_stays_as_it_is():
    assert unchanged(DEFAULTS, {"db": {"host": "y", "pool": {"size": None}}})
    assert unchanged({}, {"a": {"b": 1}}, {"a": {"b": 2}})
    assert unchanged({}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, {"a": {"b": {"c": None}}})
    assert unchanged({"x": {}}, {"x": {"y": {"z": 1}}}, {"x": {"y": {"z": 2}}})


def test_changing_the_result_changes_nothing_else():
    layer = {"new": {"list": [1], "inner": {}}}
    settings = effective(DEFAULTS, layer)
    settings["db"]["pool"]["hosts"].append("y")
    settings["tags"].append("z")
    settings["new"]["list"].append(2)
    settings["new"]["inner"]["k"] = 1
    assert DEFAULTS["db"]["pool"]["hosts"] == ["x"]
    assert DEFAULTS["tags"] == ["a"]
    assert layer == {"new": {"list": [1], "inner": {}}}


def test_lookup():
    assert lookup(DEFAULTS, "db.pool.size") == 5
    assert lookup(DEFAULTS, "a.b", "none") == "none"
    assert lookup(DEFAULTS, "nothing") is None
