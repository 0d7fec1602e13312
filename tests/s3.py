"""An S3 server in a thread of the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest


@contextmanager
def serving() -> Iterator["Server"]:
    """A server for the block; the test is skipped where moto or s3fs is not installed."""
    pytest.importorskip("moto.server", reason="Buckets are not tested: moto is not installed.", exc_type=ImportError)
    pytest.importorskip("s3fs", reason="Buckets are not tested: s3fs is not installed.")
    server = Server()
    yield server
    server.stop()


class Server:
    """S3 server whose objects outlive a stop."""

    def __init__(self) -> None:
        self._port = 0
        self.start()

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a process reaches it."""
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        return keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}"}

    def empty(self) -> None:
        """Make an empty bucket `runs` the one that there is."""
        for method, path in (("POST", "moto-api/reset"), ("PUT", "runs")):
            urlopen(Request(f"{self.environment['AWS_ENDPOINT_URL']}/{path}", method=method)).close()
