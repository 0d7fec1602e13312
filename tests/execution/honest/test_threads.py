import queue
import threading


def test_producer_and_consumer():
    tasks, results = queue.Queue(), []

    def work():
        while (item := tasks.get()) is not None:
            results.append(item * item)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in [*range(20), *[None] * 4]:
        tasks.put(number)
    for thread in threads:
        thread.join()
    assert sorted(results) == [number * number for number in range(20)]
