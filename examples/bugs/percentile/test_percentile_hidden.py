import pytest

from percentile import meets, percentile, report

HUNDRED = [float(n) for n in range(100, 0, -1)]


def test_of_a_hundred_times_each_is_a_percentile():
    assert [percentile(HUNDRED, n) for n in range(1, 101)] == [float(n) for n in range(1, 101)]


def test_the_shortest_and_the_longest():
    assert percentile(HUNDRED, 0) == 1.0
    assert percentile([3.0, 9.0], 0) == 3.0
    assert percentile([5.0], 0) == 5.0
    assert percentile([3.0, 9.0], 100) == 9.0


def test_ranks_are_rounded_up():
    assert percentile([1.0, 2.0, 3.0], 33) == 1.0
    assert percentile([1.0, 2.0, 3.0], 34) == 2.0
    assert percentile([1.0, 2.0, 3.0], 67) == 3.0
    assert percentile([1.0, 2.0], 1) == 1.0


def test_the_times_keep_their_order():
    times = [3.0, 1.0, 2.0]
    percentile(times, 0)
    assert times == [3.0, 1.0, 2.0]


def test_the_report():
    assert report(HUNDRED) == "p50 50 ms, p95 95 ms, p99 99 ms"
    assert report([4.0, 8.0], (0, 100)) == "p0 4 ms, p100 8 ms"
    assert report([]) == "no requests"


def test_objectives():
    assert meets(HUNDRED, {50: 50.0, 99: 99.0})
    assert not meets(HUNDRED, {50: 50.0, 99: 98.0})
    assert meets(HUNDRED, {0: 1.0})
    assert meets([], {99: 1.0})


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="no times"):
        percentile([], 50)
    with pytest.raises(ValueError, match="percent"):
        percentile([1.0], 101)
    with pytest.raises(ValueError, match="percent"):
        percentile([1.0], -1)
