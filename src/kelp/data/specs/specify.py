"""Add generated specs to a corpus, file by file."""

import json
from pathlib import Path
from typing import Any

from kelp.data.corpus.build import Progress, summary, write_report
from kelp.data.record import DataError, arrow, load, save_table
from kelp.data.specs.generate import add_specs
from kelp.data.workers import Engine, workers


def specify(
    folder: Path, *, seed: int = 0, jobs: int = 2, engine: Engine = "local", progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Add asserts to the functions of a corpus that have none, file by file; return the new report.

    Files done with this seed are left alone, so an interrupted run resumes.
    """
    arrow()
    import pyarrow.parquet as pq

    files = sorted(folder.glob("functions-*.parquet"))
    if not (folder / "report.json").exists():
        raise DataError(f"{folder} holds no finished corpus: make one with kelp corpus build --out {folder}")
    todo = [path for path in files if (pq.read_schema(path).metadata or {}).get(b"specs") != str(seed).encode()]
    progress("specs", len(files) - len(todo), len(files))
    # Here all processes work on one file, on Ray each on a file of its own.
    files_at_once, jobs = (jobs, 1) if engine == "ray" else (1, jobs)
    with workers(engine, files_at_once) as run:
        each = [(path.absolute(), seed, jobs) for path in todo]
        for done, _ in enumerate(run(_specify, each), start=len(files) - len(todo) + 1):
            progress("specs", done, len(files))
    report = json.loads((folder / "report.json").read_text()) | summary(folder)
    write_report(report, folder)
    return report


def _specify(job: tuple[Path, int, int]) -> None:
    """Add asserts to one file, given with the seed and the number of processes."""
    pa = arrow()
    import pyarrow.parquet as pq

    path, seed, jobs = job
    records = add_specs(load(path), seed, jobs)
    with pq.ParquetFile(path) as file:
        table = file.read()
    columns = ("context", "asserts", "mutation_score")  # asserts may need more imports
    new = {name: [getattr(r, name) for r in records] for name in columns}
    for name, values in new.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    save_table(table.replace_schema_metadata({b"specs": str(seed).encode()}), path)
