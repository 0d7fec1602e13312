import multiprocessing

context = multiprocessing.get_context("fork")


def add(counter, lock):
    for _ in range(100):
        with lock:
            counter.value += 1


def test_a_shared_counter():
    counter, lock = context.Value("i", 0), context.Lock()
    processes = [context.Process(target=add, args=(counter, lock)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.value == 200
