import multiprocessing


def test_a_manager():
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        shared = manager.dict()
        process = context.Process(target=shared.__setitem__, args=("a", 1))
        process.start()
        process.join()
        assert dict(shared) == {"a": 1}
