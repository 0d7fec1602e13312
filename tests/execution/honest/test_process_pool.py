import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def test_a_pool_of_processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(math.factorial, [3, 4, 5])) == [6, 24, 120]
