"""Virtual environments of every Python on this machine, made without a network."""

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
OF_PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "py", "pygments")
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


@cache
def base(version: str) -> str:
    """Path of the Python of this version, this one's among them; skips the test where there is none."""
    if version == OWN:
        return sys.executable
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)
    on_path = shutil.which(f"python{version}")
    for python in [*map(str, installed), *([on_path] if on_path else [])]:
        if subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0:
            return python
    pytest.skip(f"there is no Python {version} with venv on this machine")


def site_packages(environment: Path) -> Path:
    return next((environment / "lib").glob("python*/site-packages"))


class Environments:
    """Makes environments in a folder, each once, with or without this one's pytest."""

    def __init__(self, folder: Path):
        self.folder = folder

    def plain(self, version: str) -> Path:
        """An environment without packages."""
        made = self.folder / version
        if not made.exists():
            subprocess.run([base(version), "-m", "venv", "--without-pip", str(made)], check=True)
        return made

    def with_pytest(self, version: str) -> Path:
        """An environment with this one's pytest, by a .pth file. Skips the test where that needs more packages."""
        if tuple(map(int, version.split("."))) < (3, 11):
            pytest.skip("pytest needs packages there that this environment does not have")
        made = self.folder / f"{version}-pytest"
        if not made.exists():
            subprocess.run([base(version), "-m", "venv", "--without-pip", str(made)], check=True)
            (site_packages(made) / "pytest.pth").write_text(f"{self._packages()}\n")
        return made

    def _packages(self) -> Path:
        packages = self.folder / "of-pytest" / "site-packages"
        if not packages.exists():
            packages.mkdir(parents=True)
            for name in OF_PYTEST:
                spec = importlib.util.find_spec(name)
                assert spec is not None and spec.origin is not None
                if spec.submodule_search_locations is None:
                    shutil.copy(spec.origin, packages)
                else:
                    shutil.copytree(Path(spec.origin).parent, packages / name)
        return packages
