"""Build the wheel and the sdist, and check everything that a release promises. Publishes nothing.

    python -m pip install build
    python scripts/release.py            # any time: with the version that is in the package
    python scripts/release.py 0.2.0      # before a release: version and changelog must say so

The wheel is built from the sdist, so both hold all they need. It is installed in a fresh environment, which repairs the
three examples of `make demo`. Ends with one line a check, and exit status 1 at the first that fails.
"""

import argparse
import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "kelp-repair"
NEEDED = (  # beside the files that Git tracks below src/kelp
    "kelp/configs/tiny.toml",
    "kelp/configs/default/1-start.toml",
    "kelp/models/default/model.safetensors",
    "kelp/models/default/tokenizer.json",
    "kelp/py.typed",
)
SCRIPTS = {"kelp", DISTRIBUTION}
LARGEST_MB = 12.0  # of a wheel: the model that ships takes 7


class ReleaseError(Exception):
    """A check that fails, in one sentence."""


def check_version(version: str, package: str, changelog: str) -> str:
    """Check the version of the package, and the changelog's newest section, which is returned. Raises ReleaseError."""
    if package != version:
        raise ReleaseError(f"src/kelp/__init__.py says {package}, not {version}.")
    newest = re.search(r"(?ms)^## (.+?)$(.*?)(?=^## |\Z)", changelog)
    if newest is None or not newest[2].strip():
        raise ReleaseError("CHANGELOG.md says nothing of this version.")
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", newest[1].strip()):
        raise ReleaseError(f"CHANGELOG.md begins with '## {newest[1]}', not '## {version} (YEAR-MONTH-DAY)'.")
    return newest[2].strip()


def check_wheel(wheel: Path, version: str, tracked: list[str]) -> str:
    """Check a wheel's metadata and files. Raises ReleaseError.

    `tracked` are the files below src/, as in `kelp/errors.py`.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
        if f"{info}/METADATA" not in names:
            raise ReleaseError(f"{wheel.name} has no {info}/METADATA.")
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entries = configparser.ConfigParser()
        entries.optionxform = str
        entries.read_string(archive.read(f"{info}/entry_points.txt").decode())
    if (metadata["Name"], metadata["Version"]) != (DISTRIBUTION, version):
        raise ReleaseError(f"{wheel.name} is {metadata['Name']} {metadata['Version']}, not {DISTRIBUTION} {version}.")
    if missing := SCRIPTS - set(entries["console_scripts"]):
        raise ReleaseError(f"{wheel.name} has no script {' and no '.join(sorted(missing))}.")
    if missing := {*tracked, *NEEDED} - names:
        raise ReleaseError(f"{wheel.name} lacks {', '.join(sorted(missing)[:5])}.")
    strange = [n for n in names if not n.startswith(("kelp/", f"{info}/")) or n.endswith((".pyc", ".orig", ".rej"))]
    if strange:
        raise ReleaseError(f"{wheel.name} holds {', '.join(sorted(strange)[:5])}.")
    megabytes = wheel.stat().st_size / 1e6
    if megabytes > LARGEST_MB:
        raise ReleaseError(f"{wheel.name} has {megabytes:.1f} MB, more than {LARGEST_MB:g}.")
    return f"{len(names)} files, {megabytes:.1f} MB"


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it. Raises ReleaseError."""
    shutil.rmtree(folder, ignore_errors=True)
    run("the build", sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def run_demo(wheel: Path, folder: Path) -> str:
    """Repair the examples with the wheel, in a fresh environment and away from the source. Raises ReleaseError."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run("the installation", python, "-m", "pip", "install", "--quiet", wheel)
    for script in sorted(SCRIPTS):
        run(script, environment / "bin" / script, "--version")
    examples = folder / "examples"
    shutil.copytree(ROOT / "examples", examples, ignore=shutil.ignore_patterns("bugs", "__pycache__"))
    output = run("the demo", python, "examples/demo.py", folder=folder)
    return output.strip().splitlines()[-2]


def run(name: str, *command: object, folder: Path = ROOT) -> str:
    """Return the standard output of a command. Raises ReleaseError where it fails."""
    clean = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run([*map(str, command)], cwd=folder, env=clean, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{name} fails with status {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="version to release; without it changelog and Git are not checked")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for wheel and sdist (default: dist)")
    options = parser.parse_args()
    package = re.search(r'__version__ = "(.+)"', (ROOT / "src/kelp/__init__.py").read_text())
    assert package is not None
    version = options.version or package[1]
    tracked = run("git", "git", "ls-files", "src").splitlines()
    try:
        if options.version:
            check_version(version, package[1], (ROOT / "CHANGELOG.md").read_text())
            print(f"ok  version and changelog: {version}")
            if changed := run("git", "git", "status", "--porcelain").strip():
                raise ReleaseError(f"Files have changed since the last commit:\n{changed}")
            print("ok  nothing has changed since the last commit")
        sdist, wheel = build(options.out)
        print(f"ok  {sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB")
        print(f"ok  {wheel.name}: {check_wheel(wheel, version, [path.removeprefix('src/') for path in tracked])}")
        with tempfile.TemporaryDirectory(prefix="kelp-release-") as folder:
            print(f"ok  the demo from the wheel: {run_demo(wheel, Path(folder))}")
    except ReleaseError as error:
        sys.exit(f"FAILED  {error}")


if __name__ == "__main__":
    main()
