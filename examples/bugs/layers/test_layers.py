from layers import effective, lookup


def test_layers_are_merged():
    defaults = {"db": {"host": "localhost", "port": 5432}}
    assert effective(defaults, {"db": {"host": "prod"}}) == {"db": {"host": "prod", "port": 5432}}


def test_paths():
    assert lookup({"db": {"port": 1}}, "db.port") == 1
    assert lookup({"db": {}}, "db.port", 5432) == 5432


def test_the_defaults_stay_as_they_are():
    defaults = {"db": {"host": "localhost"}}
    effective(defaults, {"db": {"host": "prod"}})
    assert defaults == {"db": {"host": "localhost"}}


def test_a_layer_stays_as_it_is():
    site = {"log": {"file": {"level": "info"}}}
    effective({}, site, {"log": {"file": {"level": "debug"}}})
    assert site == {"log": {"file": {"level": "info"}}}
