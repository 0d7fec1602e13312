"""A corpus on disk: each function once, no benchmark, the same bytes however it was made."""

import json
from itertools import pairwise

import pytest

from kelp.data.corpus import build as corpus
from kelp.data.corpus.build import Settings
from kelp.data.corpus.decontaminate import fingerprint
from kelp.data.record import DataError, Record, load, save
from kelp.data.specs.specify import specify

pytestmark = pytest.mark.slow

TOTAL = "def total(xs):\n    s = [0]\n    while xs:\n        s.append(s[-1] ^ xs.pop())\n    return s\n"
LONG = """def report(rows, width, title):
    lines = [title.center(width), "=" * width]
    for row in rows:
        name, amount = row["name"], row["amount"]
        if amount < 0:
            lines.append(name.ljust(width - 12) + "(" + format(-amount, ".2f") + ")")
        else:
            lines.append(name.ljust(width - 12) + format(amount, "11.2f"))
    lines.append("-" * width)
    lines.append(str(len(rows)).rjust(width))
    return "\\n".join(lines)
"""


def make(folder, **files):
    """Write modules; their source."""
    for name, text in files.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return f"dir:{folder}"


def dropped(out):
    lines = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    return {line["where"]: (line["reason"], line["of"]) for line in lines}


def test_copies_are_kept_once_whatever_their_names_layout_and_annotations(tmp_path):
    renamed = '''
def sum_up(values: list[int]) -> int:
    """Add them up."""
    result: list = [0]  # so far
    while (values): result.append(result[-1] ^ values.pop())
    return result
'''
    sources = (make(tmp_path / "one", a=TOTAL, b=renamed, c=TOTAL.replace("^", "|")), make(tmp_path / "two", d=TOTAL))
    report = corpus.build(Settings(sources), tmp_path / "out", jobs=1)
    assert [r.origin for r in load(tmp_path / "out")] == ["one/a.py", "one/c.py"]
    assert dropped(tmp_path / "out") == {
        "one/b.py:sum_up": ("copy: same normal form", "one/a.py:total"),
        "two/d.py:total": ("copy: same text", "one/a.py:total"),
    }
    assert (report["found"], report["functions"], report["projects"]) == (4, 2, 1)


def test_near_copies_are_kept_once(tmp_path):
    near = LONG.replace('"=" * width', '"=" * (width + 1)').replace("report", "listing")
    other = "def spread(xs):\n    return {x: hash(x) >> 3 for x in zip(xs, xs[::-1])}\n"
    corpus.build(Settings((make(tmp_path / "p", a=LONG, b=near, c=other),)), tmp_path / "out", jobs=1)
    assert [r.name for r in load(tmp_path / "out")] == ["report", "spread"]
    assert dropped(tmp_path / "out") == {"p/b.py:listing": ("copy: near copy", "p/a.py:report")}


def test_bands_are_those_of_the_normal_form():
    first = corpus.bands(fingerprint(LONG))
    assert first == corpus.bands(fingerprint(LONG.replace("rows", "lines_of_it")))
    assert len(first) == corpus.BANDS
    assert not set(first) & set(corpus.bands(fingerprint(TOTAL)))


def test_benchmarks_and_what_is_excluded_are_kept_out(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": 7, "code": TOTAL}))
    source = make(tmp_path / "p", a=TOTAL, b=LONG, c="def remove_Occ(s, ch):\n    return s.partition(ch)\n")
    corpus.build(Settings((source,), (str(tmp_path / "mine.jsonl"),)), tmp_path / "out", jobs=1)
    assert [r.name for r in load(tmp_path / "out")] == ["report"]
    assert dropped(tmp_path / "out") == {
        "p/a.py:total": ("excluded: same normal form", "mine/7"),
        "p/c.py:remove_Occ": ("excluded: same name and arity", "mbpp/11"),
    }


def test_a_function_that_was_changed_twice_is_no_copy_and_no_benchmark_may_stand_before_a_change(tmp_path, monkeypatch):
    versions = [f"def f(x, y):\n    print(x, {n})\n    return x[y][{n}:]\n" for n in range(4)]
    changed = [Record(new, "f", before=old) for old, new in pairwise(versions)]
    back = Record(versions[1], "f", before=versions[2])
    found = [*changed, changed[0], back, Record(versions[1], "f")]
    monkeypatch.setattr(corpus, "read", lambda unit, columns: iter(found))
    (tmp_path / "tasks.py").write_text(versions[0])
    corpus.build(Settings(("history:f",)), tmp_path / "all", jobs=1)
    assert [r.before for r in load(tmp_path / "all")] == [*versions[:3], versions[2], ""]
    corpus.build(Settings(("history:f",), exclude=(str(tmp_path / "tasks.py"),)), tmp_path / "some", jobs=1)
    assert [r.before for r in load(tmp_path / "some")] == [*versions[1:3], versions[2], ""]


def test_long_functions_are_left_out(tmp_path):
    corpus.build(Settings((make(tmp_path / "p", a=TOTAL, b=LONG),), max_bytes=200), tmp_path / "out", jobs=1)
    assert dropped(tmp_path / "out") == {"p/b.py:report": ("longer than 200 bytes", "")}


def many(folder, modules=20):
    """Sources of functions that are no copies of one another."""
    text = "def f{n}_{m}(x):\n    return a{m}.b{n}(c{m} + d{n}[x])\n"
    return tuple(make(folder / f"p{n}", **{f"m{m}": text.format(n=n, m=m) for m in range(modules)}) for n in range(3))


def test_the_bytes_do_not_depend_on_processes_and_shards_hold_all_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SHARD", 25)
    monkeypatch.setattr(corpus, "BATCH", 7)
    sources = many(tmp_path)
    for jobs in (1, 2):
        corpus.build(Settings(sources), tmp_path / f"out{jobs}", jobs=jobs)
    one, two = (sorted((tmp_path / f"out{jobs}").iterdir()) for jobs in (1, 2))
    assert [p.name for p in one] == [p.name for p in two]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert [p.name for p in one if p.suffix == ".parquet"] == [f"functions-{n:05d}.parquet" for n in range(3)]
    origins = [r.origin for r in load(tmp_path / "out1")]
    assert origins == [f"p{n}/m{m}.py" for n in range(3) for m in sorted(range(20), key=str)]


def test_an_interrupted_build_goes_on_where_it_was(tmp_path, monkeypatch):
    settings = Settings(many(tmp_path, modules=2))
    corpus.build(settings, tmp_path / "whole", jobs=1)
    extract, done = corpus.extract, []

    def interrupted(job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job[0])
        extract(job)

    monkeypatch.setattr(corpus, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpus.build(settings, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out/report.json").exists()
    monkeypatch.setattr(corpus, "extract", lambda job: (done.append(job[0]), extract(job)))
    corpus.build(settings, tmp_path / "out", jobs=1)
    assert done == list(settings.sources)
    assert load(tmp_path / "out") == load(tmp_path / "whole")


def test_a_ray_cluster_gives_the_same_corpus_and_specs(tmp_path):
    ray = pytest.importorskip("ray")
    settings = Settings(many(tmp_path, modules=3))
    corpus.build(settings, tmp_path / "plain", jobs=1)
    try:
        corpus.build(settings, tmp_path / "ray", jobs=2, engine="ray")
        specify(tmp_path / "plain", jobs=1)
        specify(tmp_path / "ray", jobs=2, engine="ray")
    finally:
        ray.shutdown()
    for file in (tmp_path / "plain").iterdir():
        assert file.read_bytes() == (tmp_path / "ray" / file.name).read_bytes()


def test_a_folder_with_another_corpus_is_refused(tmp_path):
    corpus.build(Settings((make(tmp_path / "p", a=TOTAL),)), tmp_path / "out", jobs=1)
    with pytest.raises(DataError, match="holds a corpus of other sources"):
        corpus.build(Settings(("toy",)), tmp_path / "out", jobs=1)


def test_specs_are_added_file_by_file_and_again_only_for_another_seed(tmp_path, monkeypatch):
    source = make(tmp_path / "p", a=TOTAL, b="def later(n):\n    return missing(n)\n")
    corpus.build(Settings((source,)), tmp_path / "out", jobs=1)
    before = load(tmp_path / "out")
    report = specify(tmp_path / "out", jobs=1)
    total, later = load(tmp_path / "out")
    assert total.asserts and not later.asserts
    assert (total.source, later.source) == tuple(r.source for r in before)
    assert (report["with_spec"], report["functions"]) == (1, 2)
    monkeypatch.setattr("kelp.data.specs.specify.add_specs", None)  # not called again
    assert specify(tmp_path / "out", jobs=1) == report
    with pytest.raises(TypeError):
        specify(tmp_path / "out", seed=1, jobs=1)


def test_records_survive_the_disk_and_their_files_depend_on_them_alone(tmp_path):
    records = [
        Record("def f(x):\n    'Doc é.'\n    return x\n", "f", "Doc é.", None, ("assert f(1) == 1",), project="p"),
        Record("async def g(x: int) -> int:\n    return x\n", "g", split="valid", mutation_score=0.5, license="MIT"),
    ]
    save(records, tmp_path / "a.parquet")
    save(load(tmp_path / "a.parquet"), tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet") == records
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_bad_record_is_refused_with_its_place(tmp_path):
    with pytest.raises(ValueError, match="LF line ends"):
        Record("def f(): return 1", "f")
    with pytest.raises(ValueError, match="no assert"):
        Record("def f(): return 1\n", "f", asserts=("f() == 1",))
    (tmp_path / "r.parquet").write_text("nothing")
    with pytest.raises(DataError, match=r"r\.parquet is no Parquet file of functions"):
        load(tmp_path / "r.parquet")
    (tmp_path / "r.parquet").unlink()
    with pytest.raises(DataError, match="holds no corpus: make one with kelp corpus build"):
        load(tmp_path)
