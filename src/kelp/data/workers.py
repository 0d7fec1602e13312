"""Processes that make data: of this machine, or of a Ray cluster that shares its folders."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from kelp.data.record import DataError
from kelp.extras import install

Engine = Literal["local", "ray"]
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
RETRIES = 10  # of a task whose process or machine is lost


@contextmanager
def workers(engine: Engine, jobs: int) -> Iterator[Map]:
    """Yield a map function over processes of this machine or of a Ray cluster (`RAY_ADDRESS`, else a local one).

    Results come in the order in which they are ready. On Ray a lost process or machine costs the work of its tasks,
    which run again elsewhere: they must bear that. Raises DataError without Ray.
    """
    if engine == "ray":
        yield _on_ray(jobs)
    elif jobs <= 1:  # nothing to do, or one process
        yield lambda function, items: map(function, items)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            yield lambda function, items: pool.imap_unordered(function, items, chunksize=1)


def _on_ray(jobs: int) -> Map:
    try:
        import ray
    except ImportError:
        raise DataError(f"--engine ray needs Ray: {install('ray')}") from None
    if not ray.is_initialized():
        cores = None if os.environ.get("RAY_ADDRESS") else max(1, jobs)
        ray.init(num_cpus=cores, log_to_driver=False)

    def on_ray(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
        running = [task.remote(item) for item in items]
        while running:
            ready, running = ray.wait(running)
            yield from ray.get(ready)

    return on_ray
