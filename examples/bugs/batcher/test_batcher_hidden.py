import pytest

from batcher import Batcher


def batches(events, **limits):
    sent = []
    with Batcher(sent.append, **limits) as batcher:
        for event in events:
            batcher.accept(event)
    return sent


def test_nothing_is_sent_where_there_is_nothing():
    assert batches([]) == []


def test_one_batch_is_enough_for_little():
    assert batches([1, 2, 3]) == [[1, 2, 3]]


def test_every_batch_is_as_full_as_it_may_be():
    assert batches(["aa"] * 9, max_bytes=12) == [["aa"] * 3] * 3
    assert batches([1] * 10, max_bytes=4) == [[1] * 4, [1] * 4, [1] * 2]


def test_the_size_starts_anew_after_a_batch_that_was_full_by_number():
    assert batches([1] * 6, max_events=3, max_bytes=4) == [[1] * 3, [1] * 3]
    assert batches(["aaaa", "bbbb", "c", "c", "c"], max_events=2, max_bytes=12) == [["aaaa", "bbbb"], ["c", "c"], ["c"]]


def test_the_size_starts_anew_after_a_flush_by_hand():
    sent = []
    batcher = Batcher(sent.append, max_bytes=4)
    for _ in range(3):
        batcher.accept(1)
    batcher.flush()
    for _ in range(4):
        batcher.accept(2)
    assert sent == [[1, 1, 1]]
    batcher.flush()
    assert sent == [[1, 1, 1], [2, 2, 2, 2]]
    batcher.flush()
    assert len(sent) == 2


def test_a_large_event_is_alone():
    assert batches(["a", "b" * 50, "c", "d"], max_bytes=10) == [["a"], ["b" * 50], ["c", "d"]]


def test_bytes_are_counted_and_not_characters():
    assert batches(["é", "é"], max_bytes=15) == [["é"], ["é"]]
    assert batches([{"a": 1}, {"a": 2}], max_bytes=14) == [[{"a": 1}, {"a": 2}]]


def test_what_was_sent_is_gone_even_if_sending_fails():
    def broken(batch):
        raise ConnectionError

    batcher = Batcher(broken, max_events=1)
    with pytest.raises(ConnectionError):
        batcher.accept(1)
    batcher.flush()
