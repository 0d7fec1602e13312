"""Run the tests of what touches pytest with every minor release of pytest from the lower bound to the newest.

    .venv/bin/python -m tests.pytest_matrix [VERSION ...]

Each release gets an environment of its own in front of this one's packages. Needs an index of packages.
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

RELEASES = ["8.3.*", "8.4.*", "9.0.*", "9.1.*", ""]  # from the lower bound in pyproject.toml to the newest
TESTS = [
    "tests/execution/test_pytest_run.py", "tests/execution/test_setups.py", "tests/execution/test_needs.py",
    "tests/execution/test_command.py", "tests/execution/test_honest.py", "tests/cli/test_test.py",
]  # fmt: skip


def environment(folder: Path, release: str) -> Path:
    """Make an environment with this release of pytest and, behind it, the packages of this one; return its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*/site-packages"))
    wanted = f"pytest=={release}" if release else "pytest"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(site)]
    subprocess.run([*pip, "--upgrade", wanted], check=True)
    (site / "rest.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return python


def main() -> None:
    failed = []
    for release in sys.argv[1:] or RELEASES:
        with tempfile.TemporaryDirectory() as folder:
            python = environment(Path(folder), release)
            subprocess.run([str(python), "-m", "pytest", "--version"], check=True)
            if subprocess.run([str(python), "-m", "pytest", "-p", "no:cacheprovider", *TESTS]).returncode:
                failed.append(release or "newest")
    sys.exit(f"failed with pytest {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
