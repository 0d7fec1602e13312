from extremes import Summary, frosty, summarise


def figures(*values):
    summary = summarise([("a", value) for value in values])["a"]
    return summary.low, summary.high, summary.readings


def test_warm_days():
    assert figures(5.0, 1.0, 3.0) == (1.0, 5.0, 3)


def test_cold_days():
    assert figures(-5.0, -1.0, -3.0) == (-5.0, -1.0, 3)
    assert figures(-40.0, -30.5) == (-40.0, -30.5, 2)


def test_days_around_zero():
    assert figures(-5.0, 0.0) == (-5.0, 0.0, 2)
    assert figures(-2.0, 4.0) == (-2.0, 4.0, 2)


def test_a_single_reading_is_both():
    assert figures(-7.5) == (-7.5, -7.5, 1)
    assert figures(7.5) == (7.5, 7.5, 1)
    assert figures(0.0) == (0.0, 0.0, 1)


def test_hot_days_have_their_low():
    assert figures(1000.0, 1200.0) == (1000.0, 1200.0, 2)


def test_the_spread():
    assert summarise([("a", -9.0), ("a", -4.0)])["a"].spread == 5.0
    assert summarise([("a", -4.0)])["a"].spread == 0.0


def test_stations_do_not_mix():
    readings = [("b", -1.0), ("a", 9.0), ("b", -3.0), ("c", None), ("a", None)]
    assert summarise(readings) == {"b": Summary(-3.0, -1.0, 2), "a": Summary(9.0, 9.0, 1)}
    assert list(summarise(readings)) == ["b", "a"]


def test_frost():
    assert frosty([("b", -1.0), ("a", -0.5), ("c", 0.0), ("d", -1.0), ("d", 1.0), ("e", None)]) == ["a", "b"]
    assert frosty([]) == []
