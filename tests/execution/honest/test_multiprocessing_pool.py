import multiprocessing


def square(number):
    return number * number


def test_a_pool():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
