import random

import pytest

from backoff import delays, jittered, retries_within


def test_the_first_wait_is_the_base():
    assert delays(1) == [0.5]
    assert delays(1, base=3.0) == [3.0]


def test_there_are_as_many_as_retries():
    assert [len(delays(n)) for n in (0, 1, 2, 7)] == [0, 1, 2, 7]


def test_waits_double_up_to_the_cap():
    assert delays(5, base=2.0, cap=10.0) == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert delays(3, base=5.0, cap=1.0) == [1.0, 1.0, 1.0]
    assert delays(8)[-1] == 60.0
    assert delays(7)[-1] == 32.0


def test_many_retries_do_not_overflow():
    assert delays(200)[-1] == 60.0


def test_budgets():
    assert retries_within(0.5) == 1
    assert retries_within(1.49) == 1
    assert retries_within(1.5) == 2
    assert retries_within(7, base=1.0) == 3
    assert retries_within(100, base=40.0, cap=40.0) == 2


def test_jitter_shortens():
    waits = delays(6)
    some = jittered(waits, 0.5, random.Random(1))
    assert len(some) == 6
    assert all(wait / 2 <= found <= wait for wait, found in zip(waits, some))
    assert jittered(waits, 0.0, random.Random(1)) == waits


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError):
        delays(-1)
    with pytest.raises(ValueError):
        delays(1, base=0)
    with pytest.raises(ValueError):
        jittered([1.0], 1.5, random.Random(1))
