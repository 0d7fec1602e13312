"""Environments that several tests share, and the pytest of the sandboxes."""

import subprocess

import pytest
from tests.environments import Environments


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="session")
def version_of_pytest(pytestconfig: pytest.Config) -> tuple[int, ...]:
    """Version of the pytest that sandboxes run: that of `--python`, or else this one."""
    version = pytest.__version__
    if (python := pytestconfig.option.python) is not None:
        command = [python, "-c", "import pytest; print(pytest.__version__)"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return tuple(map(int, version.split(".")[:3]))
