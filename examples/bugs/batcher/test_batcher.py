from batcher import Batcher


def test_batches_are_limited_in_number():
    sent = []
    with Batcher(sent.append, max_events=2) as batcher:
        for number in range(5):
            batcher.accept(number)
    assert sent == [[0, 1], [2, 3], [4]]


def test_batches_are_limited_in_size():
    sent = []
    with Batcher(sent.append, max_bytes=10) as batcher:
        for _ in range(5):
            batcher.accept("aa")
    assert sent == [["aa"] * 2, ["aa"] * 2, ["aa"]]
