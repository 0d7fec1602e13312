from percentile import meets, percentile

TIMES = [40.0, 10.0, 30.0, 20.0]


def test_the_median():
    assert percentile(TIMES, 50) == 20.0
    assert percentile([7.0], 50) == 7.0


def test_the_ends():
    assert percentile(TIMES, 100) == 40.0
    assert percentile(TIMES, 0) == 10.0


def test_an_objective():
    assert meets(TIMES, {50: 25.0, 95: 40.0})
