"""Seconds until `kelp repair` has run its first candidate: the first time ever, and afterwards.

    python benchmarks/startup.py [--kelp ENVIRONMENT/bin/kelp] [--runs 9] [FILE]

Two test runs are allowed, that of the file as it is and that of the first candidate, so that the whole command ends
with it. For the first time ever the environment's compiled modules are deleted (its folders __pycache__), and Kelp's
own cache is empty. Seconds of wall clock and of processor time, those of the sandbox included.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def seconds(command: list[str], folder: Path, caches: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command."""
    environment = os.environ | {"XDG_CACHE_HOME": str(caches)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=EXAMPLES / "slugs.py")
    parser.add_argument("--kelp", default=str(Path(sys.executable).parent / "kelp"))
    parser.add_argument("--runs", type=int, default=9, help="after the first")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, caches = Path(scratch) / "project", Path(scratch) / "caches"
        folder.mkdir()
        for file in (args.file, args.file.with_name(f"test_{args.file.name}")):
            shutil.copy(file, folder)
        for compiled in [*Path(args.kelp).parent.parent.rglob("__pycache__")]:
            shutil.rmtree(compiled)
        command = [args.kelp, "repair", args.file.name, "--max-runs", "2"]
        first, *later = (seconds(command, folder, caches) for _ in range(1 + args.runs))
    walls, processor = zip(*later)
    print(f"first ever  {first[0]:5.2f} s   {first[1]:5.2f} s of processor time")
    low, _, high = statistics.quantiles(walls, n=4)
    print(
        f"afterwards  {statistics.median(walls):5.2f} s   {statistics.median(processor):5.2f} s of processor time"
        f"   (medians of {len(later)}; quartiles of the first {low:.2f} to {high:.2f})"
    )


if __name__ == "__main__":
    main()
