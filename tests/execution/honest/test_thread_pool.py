from concurrent.futures import ThreadPoolExecutor, as_completed


def test_a_pool_of_threads():
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(pow, number, 2) for number in range(10)]
        assert sorted(future.result() for future in as_completed(futures))[-1] == 81
