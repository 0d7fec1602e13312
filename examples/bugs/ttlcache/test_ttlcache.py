from ttlcache import TTLCache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_entries_expire():
    clock = Clock()
    cache = TTLCache(2, 10, clock)
    cache.put("a", 1)
    assert cache.get("a") == 1
    clock.now = 10.0
    assert cache.get("a", "gone") == "gone"


def test_the_oldest_makes_room():
    cache = TTLCache(2, 10, Clock())
    for key in "abc":
        cache.put(key, key)
    assert [cache.get(key) for key in "abc"] == [None, "b", "c"]


def test_a_new_value_is_new():
    cache = TTLCache(2, 10, Clock())
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put("a", 3)
    cache.put("c", 4)
    assert cache.get("a") == 3
