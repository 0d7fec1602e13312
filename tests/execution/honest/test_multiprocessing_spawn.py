import multiprocessing
import os


def put(queue):
    queue.put(os.getpid())


def test_spawned_processes():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    assert queue.get(timeout=30) == process.pid
    process.join()
    assert process.exitcode == 0
