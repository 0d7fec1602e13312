"""Add generated specs to a corpus, file by file."""

import json
from pathlib import Path
from typing import Any

from kelp.data.corpus.build import Progress, summary, write_report
from kelp.data.record import DataError, arrow, load, save_table
from kelp.data.specs.generate import add_specs


def specify(folder: Path, *, seed: int = 0, jobs: int = 2, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Add asserts to the functions of a corpus that have none, file by file; return the new report.

    Files done with this seed are left alone, so an interrupted run resumes.
    """
    pa = arrow()
    import pyarrow.parquet as pq

    files = sorted(folder.glob("functions-*.parquet"))
    if not (folder / "report.json").exists():
        raise DataError(f"{folder} holds no finished corpus: make one with kelp corpus build --out {folder}")
    mark = {b"specs": str(seed).encode()}
    todo = [path for path in files if (pq.read_schema(path).metadata or {}).get(b"specs") != mark[b"specs"]]
    for done, path in enumerate(todo, start=len(files) - len(todo)):
        progress("specs", done, len(files))
        records = add_specs(load(path), seed, jobs)
        table = pq.read_table(path)
        columns = ("context", "asserts", "mutation_score")  # asserts may need more imports
        new = {name: [getattr(r, name) for r in records] for name in columns}
        for name, values in new.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
        save_table(table.replace_schema_metadata(mark), path)
    progress("specs", len(files), len(files))
    report = json.loads((folder / "report.json").read_text()) | summary(folder)
    write_report(report, folder)
    return report
