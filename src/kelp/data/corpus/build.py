"""Build a corpus: the functions of all sources as Parquet files, without copies and without benchmarks' functions.

Two passes, both of constant memory. The first reads each unit of the sources (a package, a file of a data set) on all
cores or a cluster and writes its functions, with keys that identify copies, to a part file; units that have a part
file are not read again, so an interrupted build resumes. The second finds copies among all parts, in SQL that spills to
disk, and writes the rest.
"""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kelp.data.corpus import decontaminate
from kelp.data.corpus.decontaminate import Excluded, Fingerprint
from kelp.data.corpus.extract import Dropped
from kelp.data.corpus.sources import Columns, expand, read
from kelp.data.record import DataError, Record, arrow, row, save_table, schema
from kelp.data.workers import Engine, workers
from kelp.extras import install
from kelp.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = 5_000  # functions in a file
BATCH = 1_000  # functions in memory at a time
PERMUTATIONS, BANDS = 128, 16  # near copies: 95 % are found at a Jaccard similarity of 0.8, 6 % taken for one at 0.5
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """Settings of a corpus; equal settings give equal bytes."""

    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()  # files of functions to exclude, besides the benchmarks
    columns: Columns = field(default_factory=Columns)
    max_bytes: int = 8000  # of a function's source


def build(
    settings: Settings,
    out: Path,
    *,
    jobs: int = 2,
    engine: Engine = "local",
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Fill the folder `out` and return its report; finished parts are kept. Raises DataError."""
    report_path, settings_path = out / "report.json", out / "settings.json"
    text = json.dumps(asdict(settings), indent=1) + "\n"
    if settings_path.exists() and settings_path.read_text() != text:
        raise DataError(f"{out} holds a corpus of other sources: name another folder, or delete it")
    if report_path.exists():
        return json.loads(report_path.read_text())
    _excluded(settings.exclude)  # reports a faulty file at once
    units = [unit for source in settings.sources for unit in expand(source, settings.columns)]
    parts = out.absolute() / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    settings_path.write_text(text)
    paths = [parts / f"{n:06d}-{_file_name(unit)}.parquet" for n, unit in enumerate(units)]
    todo = [(unit, path, settings) for unit, path in zip(units, paths) if not path.exists()]
    progress("functions", len(units) - len(todo), len(units))
    with workers(engine, min(jobs, len(todo))) as run:
        for done, _ in enumerate(run(extract, todo), start=len(units) - len(todo) + 1):
            progress("functions", done, len(units))
    progress("copies", 0, 1)
    report = _merge(paths, out)
    write_report(report, out)
    shutil.rmtree(parts)
    return report


def write_report(report: dict[str, Any], folder: Path) -> None:
    with atomic(folder / "report.json") as new:
        new.write_text(json.dumps(report, indent=1) + "\n")


def extract(job: tuple[str, Path, Settings]) -> None:
    """Write the part file of one unit: every function found, dropped ones with the reason."""
    import pyarrow.parquet as pq

    unit, path, settings = job
    exclude = _excluded(settings.exclude)
    unfinished = path.with_suffix(".unfinished")
    with warnings.catch_warnings(), pq.ParquetWriter(unfinished, _part_schema(), compression="zstd") as writer:
        warnings.simplefilter("ignore")  # invalid escapes and the like in other people's code
        batch: list[dict[str, Any]] = []
        for found in read(unit, settings.columns):
            # the toy functions resemble benchmark tasks, and are not compared with them (docs/data.md)
            batch.append(_marked(found, settings.max_bytes, Excluded([]) if unit == "toy" else exclude))
            if len(batch) == BATCH:
                writer.write_table(arrow().Table.from_pylist(batch, _part_schema()))
                batch = []
        writer.write_table(arrow().Table.from_pylist(batch, _part_schema()))
    unfinished.replace(path)


def _part_schema() -> "pa.Schema":
    pa = arrow()
    return (
        schema()
        .append(pa.field("form", pa.uint64()))
        .append(pa.field("bands", pa.list_(pa.uint64())))
        .append(pa.field("where", pa.string()))
        .append(pa.field("reason", pa.string()))  # why it is dropped; "" if it is kept
        .append(pa.field("of", pa.string()))
    )


def _marked(found: Record | Dropped, max_bytes: int, exclude: Excluded) -> dict[str, Any]:
    """Row of a part file: the function, its keys and the reason why it is dropped."""
    if isinstance(found, Dropped):
        return {"where": found.where, "reason": found.reason, "of": found.of}
    where = f"{found.origin}:{found.name}"
    if max(len(found.source.encode()), len(found.before.encode())) > max_bytes:
        return {"where": where, "reason": f"longer than {max_bytes:,} bytes", "of": ""}
    marks = [decontaminate.fingerprint(source) for source in (found.source, found.before) if source]
    match = next(filter(None, map(exclude.match, marks)), None)
    reason, of = (f"excluded: {match.reason}", match.label) if match else ("", "")
    form, copied = marks[0].form, bands(marks[0])
    if found.before:  # the same function, changed again or back, is not a copy
        both = f"{marks[1].form} {form}".encode()
        form, copied = int.from_bytes(hashlib.blake2b(both, digest_size=8).digest(), "big"), []
    return row(found) | {"form": form, "bands": copied, "where": where, "reason": reason, "of": of}


def bands(mark: Fingerprint) -> list[int]:
    """Locality-sensitive hashes of a function's grams; functions that share one are near copies (Broder 1997)."""
    if not mark.grams:
        return []
    sketch = _empty_sketch().copy()
    sketch.update_batch(sorted(mark.grams))
    rows = sketch.hashvalues.astype("<u8").reshape(BANDS, -1)
    return [int.from_bytes(hashlib.blake2b(r.tobytes(), digest_size=8).digest(), "big") for r in rows]


@cache
def _empty_sketch() -> Any:
    try:
        from datasketch import MinHash
    except ImportError:
        raise DataError(f"finding near copies needs datasketch: {install('data')}") from None
    return MinHash(num_perm=PERMUTATIONS, hashfunc=int)


@cache
def _excluded(paths: tuple[str, ...]) -> Excluded:
    try:
        return decontaminate.shipped() + Excluded(f for p in paths for f in decontaminate.task_functions(Path(p)))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{', '.join(paths)}: no file of functions to exclude: {error}") from None


def _file_name(unit: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", unit)[-80:]


# The second pass

# Rows that are copies of an earlier one: of equal text, of equal normal form, or that share a band.
_COPIES = """
create table copies as
with keys as (
    select filename, file_row_number as number, "where", 1 as rank, 'same text' as reason, sha256 as key from kept
    union all
    select filename, file_row_number, "where", 2, 'same normal form', form::varchar from kept
    union all
    select filename, file_row_number, "where", 3, 'near copy', generate_subscripts(bands, 1) || ':' || unnest(bands)
    from kept
), ranked as (
    select filename, number, rank, reason, row_number() over earlier as nth, first_value("where") over earlier as of
    from keys window earlier as (partition by rank, key order by filename, number)
)
select filename, number, min({rank: rank, reason: reason, of: of}) as copy from ranked where nth > 1 group by all
"""


def _merge(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the functions that are not copies, in order, and dropped.jsonl; return the report."""
    with _database(out) as sql:
        files = [str(path) for path in paths]
        sql.execute(
            "create view found as select * from read_parquet($files, filename = true, file_row_number = true)"
            .replace("$files", repr(files))
        )  # fmt: skip
        sql.execute("create view kept as select * from found where reason = ''")
        sql.execute(_COPIES)
        total = 0
        batches = (batch for path in files for batch in _not_copied(sql, path))
        for total, table in enumerate(_in_shards(batches), start=1):
            save_table(table, out / f"functions-{total - 1:05d}.parquet")
        sql.execute(
            f"""copy (
                select "where", reason, of from found where reason <> ''
                union all
                select "where", 'copy: ' || copy.reason, copy.of from copies
                join found on found.filename = copies.filename and file_row_number = number
                order by 2, 1, 3
            ) to {str(out / "dropped.jsonl")!r} (format json)"""
        )
        if not total:
            raise DataError(f"no function is left of all sources: {out / 'dropped.jsonl'} says why")
        return {"shards": total} | _report(sql, out)


@contextmanager
def _database(out: Path, memory: str = "2GB") -> Iterator[Any]:
    """DuckDB connection that stays within the memory limit and spills into the folder."""
    try:
        import duckdb
    except ImportError:
        raise DataError(f"finding copies needs duckdb: {install('data')}") from None
    spill = out / "spill"
    with duckdb.connect() as sql:
        sql.execute(f"set memory_limit = '{memory}'; set temp_directory = {str(spill)!r}; set threads = 2")
        yield sql
    shutil.rmtree(spill, ignore_errors=True)


def _not_copied(sql: Any, path: str) -> Iterator["pa.RecordBatch"]:
    columns = ", ".join(f'"{name}"' for name in schema().names)
    yield from sql.sql(
        f"""select {columns} from kept where filename = {path!r} and file_row_number not in
            (select number from copies where filename = {path!r}) order by file_row_number"""
    ).to_arrow_reader(BATCH)


def _in_shards(batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.Table"]:
    pa = arrow()
    rest = schema().empty_table()
    for batch in batches:
        rest = pa.concat_tables([rest, pa.Table.from_batches([batch]).cast(schema())])
        while len(rest) >= SHARD:
            yield rest.slice(0, SHARD).combine_chunks()
            rest = rest.slice(SHARD)
    if len(rest):
        yield rest.combine_chunks()


def _report(sql: Any, out: Path) -> dict[str, Any]:
    (found,) = sql.execute("select count(*) from found").fetchone()
    dropped: list[tuple[str, int]] = []
    if (out / "dropped.jsonl").stat().st_size:
        lines = f"read_json_auto({str(out / 'dropped.jsonl')!r})"
        dropped = sql.execute(f"select reason, count(*) n from {lines} group by 1 order by n desc, 1").fetchall()
    return {"found": found, "dropped": dict(dropped)} | summary(out)


def summary(folder: Path) -> dict[str, Any]:
    """Counts of a corpus, from its files; `lines` at the 10th, 50th and 90th percentile."""
    with _database(folder) as sql:
        files = sorted(str(path) for path in folder.glob("functions-*.parquet"))
        sql.execute(f"create view functions as select * from read_parquet({files!r})")
        counts = (
            sql.sql("""
            select count(*) as functions, count(distinct project) as projects,
                count(*) filter (split = 'train') as train, count(*) filter (docstring <> '') as with_docstring,
                count(context) as can_run, count(*) filter (len(asserts) > 0) as with_spec,
                avg(mutation_score) as mutation_score,
                quantile_disc(len(source) - len(replace(source, chr(10), '')), [.1, .5, .9]) as lines
            from functions""")
            .to_arrow_table()
            .to_pylist()[0]
        )
        licenses = sql.execute("select license, count(*) n from functions group by 1 order by n desc, 1").fetchall()
        projects = (
            sql.sql("""
            select project, first(split) as split, count(*) as functions, count(context) as can_run,
                count(*) filter (len(asserts) > 0) as with_spec, avg(mutation_score) as mutation_score
            from functions group by 1 order by functions desc, 1""")
            .to_arrow_table()
            .to_pylist()
        )
    return counts | {"licenses": dict(licenses), "by_project": projects}
