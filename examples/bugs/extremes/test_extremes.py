from extremes import Summary, frosty, summarise


def test_low_and_high():
    assert summarise([("a", 3.5), ("b", 7.0), ("a", 12.0)]) == {"a": Summary(3.5, 12.0, 2), "b": Summary(7.0, 7.0, 1)}


def test_failed_readings():
    assert summarise([("a", None), ("b", 1.0), ("b", None)]) == {"b": Summary(1.0, 1.0, 1)}


def test_a_frosty_day():
    assert frosty([("a", -3.0), ("b", 2.0), ("a", -1.5)]) == ["a"]
