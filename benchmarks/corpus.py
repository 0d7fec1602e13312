"""How fast a corpus is made, how much memory that takes, and what ten million functions would cost.

    python benchmarks/corpus.py            # several minutes

The input are JSON-lines files with one Python file a row, as data sets of code come: the standard library's files,
each copy with other attributes in it, so that few functions are copies of others. Each size runs in a process of
its own, whose greatest resident memory (and that of its workers, each) is shown: it should not grow with the input.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

GOAL = 10_000_000


def write_rows(folder: Path, copies: int, files: list[str], parts: int = 4) -> None:
    outs = [(folder / f"part{part}.jsonl").open("w") for part in range(parts)]
    for copy in range(copies):
        for number, text in enumerate(files):
            changed = re.sub(r"\.([a-z]\w+)", rf".\1_{copy}", text)
            row = {"repo_name": f"project{number % 97}-{copy}", "path": f"{number}.py", "content": changed}
            outs[number % parts].write(json.dumps(row) + "\n")
    for out in outs:
        out.close()


def measure(folder: Path, jobs: int) -> None:
    """In a process of its own: build, and print what it took."""
    from kelp.data.corpus import build as corpus

    marks: dict[str, float] = {"start": time.perf_counter()}

    def note(what: str, done: int, total: int) -> None:
        marks.setdefault(what, time.perf_counter())

    settings = corpus.Settings((f"files:{folder}/*.jsonl",))
    report = corpus.build(settings, folder / "out", jobs=jobs, progress=note)
    own, workers = (resource.getrusage(w).ru_maxrss / 1024 for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    first, second = marks["copies"] - marks["start"], time.perf_counter() - marks["copies"]
    print(json.dumps({"found": report["found"], "kept": report["functions"], "first": first,
                      "second": second, "own": own, "workers": workers}))  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16], help="copies of the standard library")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        measure(options.measure, options.jobs)
        return
    library = Path(sysconfig.get_path("stdlib"))
    paths = [p for p in sorted(library.rglob("*.py")) if not {"test", "tests", "site-packages"} & set(p.parts)]
    files = [path.read_text(errors="replace") for path in paths]
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder), size, files)
            command = [sys.executable, __file__, "--measure", folder, "--jobs", str(options.jobs)]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            seen = json.loads(ran.stdout)
        seconds = seen["first"] + seen["second"]
        print(
            f"{seen['found']:9,} functions found, {seen['kept']:9,} kept: {seen['first']:6.1f} s to extract and "
            f"{seen['second']:5.1f} s to find copies on {options.jobs} processes, {seen['found'] / seconds:,.0f}/s; "
            f"{seen['own']:,.0f} MiB, a worker {seen['workers']:,.0f} MiB; "
            f"{GOAL:,} would take {GOAL / seen['found'] * seconds / 3600:.1f} h"
        )


if __name__ == "__main__":
    main()
