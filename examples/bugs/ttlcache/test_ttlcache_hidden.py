import pytest

from ttlcache import TTLCache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def contents(cache, keys="abcdef"):
    return "".join(key for key in keys if cache.get(key) is not None)


def filled(clock, keys, size=3):
    cache = TTLCache(size, 10, clock)
    for number, key in enumerate(keys, start=1):
        cache.put(key, number)
    return cache


def test_up_to_its_size_everything_stays(clock):
    assert contents(filled(clock, "abc")) == "abc"


def test_what_was_written_longest_ago_goes(clock):
    assert contents(filled(clock, "abcd")) == "bcd"
    assert contents(filled(clock, "abcad")) == "acd"
    assert contents(filled(clock, "abcabd")) == "abd"
    assert contents(filled(clock, "abcaade")) == "ade"


def test_writing_again_removes_nobody(clock):
    assert contents(filled(clock, "abcccc")) == "abc"
    assert len(filled(clock, "aaaa")) == 1


def test_reading_does_not_count_as_writing(clock):
    cache = filled(clock, "abc")
    assert cache.get("a") == 1
    cache.put("d", 4)
    assert contents(cache) == "bcd"


def test_the_last_value_counts(clock):
    assert filled(clock, "aba").get("a") == 3


def test_writing_again_starts_the_time_again(clock):
    cache = filled(clock, "ab")
    clock.now = 6.0
    cache.put("a", 7)
    clock.now = 12.0
    assert cache.get("a") == 7
    assert cache.get("b") is None
    assert len(cache) == 1


def test_values_that_are_false_are_values(clock):
    cache = filled(clock, "a")
    cache.put("z", 0)
    assert cache.get("z", 5) == 0


def test_a_size_of_one(clock):
    assert contents(filled(clock, "aba", size=1)) == "a"


def test_a_cache_without_room_is_refused():
    with pytest.raises(ValueError, match="size"):
        TTLCache(0, 10)
