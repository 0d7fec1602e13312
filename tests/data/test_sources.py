"""Where functions come from: packages, folders, and data sets as they are published."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sysconfig
import tarfile
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kelp.cli.corpus import build
from kelp.data.corpus import sources
from kelp.data.corpus.sources import READERS, Columns, expand, read
from kelp.data.record import DataError, Record
from kelp.errors import KelpError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INC = "def inc(x):\n    return x + 1\n"


def records(unit, columns=Columns()):
    return [found for found in read(unit, columns) if isinstance(found, Record)]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PACKAGES", tmp_path)
    return tmp_path


def test_the_message_the_help_and_the_documentation_name_every_kind_of_source():
    with pytest.raises(DataError) as error:
        expand("nothing")
    forms = re.split(", | and ", str(error.value).rstrip(".").partition("sources are ")[2])
    assert {re.split(r"\W", form)[0] for form in forms} == {*READERS, "list"}
    offered = get_type_hints(build, include_extras=True)["source"].__metadata__[0].help
    assert set(re.split(", | or ", offered.removesuffix("; repeatable."))) == set(forms)
    table = (ROOT / "docs/data.md").read_text().partition("## Sources")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)) == set(forms)


def test_a_wheel_in_the_cache_is_read_without_being_installed(packages):
    with zipfile.ZipFile(packages / "my_pack-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("my_pack/core.py", "import nowhere\n" + INC)
        wheel.writestr("my_pack/extra/more.py", "def dec(x):\n    return x - 1\n")
        wheel.writestr("my_pack/tests/test_core.py", "def test(x):\n    return x + 2\n")
        wheel.writestr("my_pack-1.2.dist-info/METADATA", "Name: my-pack\nVersion: 1.2\nLicense-Expression: MIT\n\n")
    found = records("package:my-pack==1.2")
    assert [r.origin for r in found] == ["my-pack-1.2/my_pack/core.py", "my-pack-1.2/my_pack/extra/more.py"]
    assert {(r.license, r.project) for r in found} == {("MIT", "my-pack")}
    assert [r.name for r in records("package:my-pack==1.2 my_pack/extra")] == ["dec"]


def write_sdist(path, version="1.3", code=INC):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {
            "PKG-INFO": f"Name: my-pack\nVersion: {version}\nClassifier: License :: OSI Approved :: BSD License\n\n",
            "setup.py": "raise SystemExit('ran')\n",
            "src/my_pack/core.py": code,
        }.items():
            member = tarfile.TarInfo(f"my_pack-{version}/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def test_a_source_distribution_is_read_without_running_its_setup(packages):
    write_sdist(packages / "my_pack-1.3.tar.gz")
    assert [(r.origin, r.license) for r in records("package:my-pack==1.3")] == [
        ("my-pack-1.3/my_pack/core.py", "BSD License")
    ]


class Index(SimpleHTTPRequestHandler):
    """A package index that speaks PEP 691 alone."""

    def guess_type(self, path):
        return "application/vnd.pypi.simple.v1+json" if str(path).endswith("index.html") else "application/gzip"


@pytest.mark.parametrize(("version", "damaged"), [("==1.3", False), ("", False), ("==1.3", True)])
def test_a_source_distribution_is_fetched_as_the_index_lists_it(packages, monkeypatch, version, damaged):
    server_files = packages / "index"
    (server_files / "my-pack").mkdir(parents=True)
    write_sdist(server_files / "my_pack-1.3.tar.gz")
    digest = hashlib.sha256((server_files / "my_pack-1.3.tar.gz").read_bytes()).hexdigest()
    files = [
        {"filename": f"my_pack-{number}.tar.gz", "url": f"../my_pack-{number}.tar.gz", "hashes": {"sha256": hashed}}
        for number, hashed in (("0.9", ""), ("1.3", "0" * 64 if damaged else digest))
    ]
    with served(server_files, files, monkeypatch):
        if damaged:
            with pytest.raises(DataError, match="its checksum is wrong"):
                records(f"package:my-pack{version}")
        else:
            assert [r.source for r in records(f"package:my-pack{version}")] == [INC]


@contextmanager
def served(folder, files, monkeypatch):
    """An index at `sources.INDEX` that lists these files of my-pack."""
    listing = {"meta": {"api-version": "1.0"}, "name": "my-pack", "files": files}
    (folder / "my-pack/index.html").write_text(json.dumps(listing))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "INDEX", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


def test_the_history_of_a_package_is_what_its_releases_changed(packages, monkeypatch):
    """Neither what came after the pinned release, nor one that was withdrawn, is none, or cannot be unpacked."""
    folder = packages / "index"
    (folder / "my-pack").mkdir(parents=True)
    files = []
    released = {"1.0": 1, "1.1": 2, "1.2": 9, "1.3rc1": 8, "1.3": 3, "1.4": 4, "1.10": 5, "1.11": 6, "2.0rc1": 7}
    for version, number in released.items():
        path = folder / f"my_pack-{version}.tar.gz"
        write_sdist(path, version, INC.replace("1", str(number)))
        if version == "1.4":
            path.write_bytes(b"no archive")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append({"filename": path.name, "url": f"../{path.name}", "hashes": {"sha256": digest}})
        files[-1]["yanked"] = version == "1.2"
    with served(folder, files, monkeypatch):
        found = records("history:my-pack==1.10")
        assert {r.project for r in found} == {"my-pack"}
        assert [(r.origin.split("/")[0], r.before[-2], r.source[-2]) for r in found] == [
            ("my-pack-1.1", "1", "2"), ("my-pack-1.3", "2", "3"), ("my-pack-1.10", "3", "5"),
        ]  # fmt: skip
        assert len(records("history:my-pack")) == 4
        assert [r.origin.split("/")[0] for r in records("history:my-pack==1.3 releases=2")] == ["my-pack-1.3"]
        assert records("history:my-pack==1.10 releases=2 elsewhere") == []
        assert [r.source[-2] for r in records("package:my-pack")] == ["6"]  # no preview
        assert [r.source[-2] for r in records("package:my-pack==1.2")] == ["9"]  # asked for although withdrawn
        for unit, said in {
            "history:my-pack==9.9": "has no wheel and no .tar.gz of 9.9", "history:": "cannot be downloaded",
            "history:my-pack releases=0": "no number of releases", "package:my-pack==x": "Invalid version",
        }.items():  # fmt: skip
            with pytest.raises(DataError, match=said):
                records(unit)
        (packages / "list.toml").write_text('packages = ["my-pack==1.1"]\nsources = ["toy"]\n')
        assert expand(f"history:{packages / 'list.toml'}") == ["history:my-pack==1.1"]
    with pytest.raises(DataError, match="history:other cannot be downloaded from PyPI"):
        records("history:other")


def test_the_standard_library_is_taken_without_its_tests(tmp_path, monkeypatch):
    whole = Path(sysconfig.get_path("stdlib"))
    for name in ("heapq.py", "json/decoder.py", "json/scanner.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    for name in ("test/test_heapq.py", "site-packages/pack/core.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(INC)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    found = {r.origin.split("/", 1)[1]: r for r in sources.stdlib() if isinstance(r, Record)}
    assert "heapq.py" in found and "json/decoder.py" in found
    assert not any("/test/" in origin or "site-packages" in origin for origin in found)
    assert (found["heapq.py"].license, found["heapq.py"].project) == ("PSF-2.0", "python")


def test_a_folder_is_taken_without_its_tests_and_a_checkout_without_what_git_ignores(tmp_path):
    project = tmp_path / "project"
    for name in ("a.py", "new.py", "tests/helpers.py", "test_a.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(INC)
    assert [r.origin for r in records(f"dir:{project}")] == ["project/a.py", "project/new.py"]
    git = ["git", "-C", str(project)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "a.py", "tests"], check=True)
    assert [r.origin for r in records(f"quine:{project}")] == ["project/a.py"]
    with pytest.raises(DataError, match="no git checkout"):
        records(f"quine:{tmp_path}")


def test_mbpp_training_tasks_keep_their_asserts_and_the_others_are_not_taken(tmp_path):
    rows = [
        {"task_id": n, "text": "Add one.", "code": "import math\r\ndef inc(x):\r\n  return math.floor(x) + 1",
         "test_list": ["assert inc(1) == 2"], "test_setup_code": ""}
        for n in (11, 555, 601)
    ]  # fmt: skip
    (tmp_path / "mbpp.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert records(f"mbpp:{tmp_path / 'mbpp.jsonl'}") == [Record(
        "def inc(x):\n  return math.floor(x) + 1\n", "inc", "Add one.", "import math\n", ("assert inc(1) == 2",),
        "mbpp-601/task.py", "CC-BY-4.0", "mbpp",
    )]  # fmt: skip


def test_a_list_names_packages_and_other_sources(tmp_path):
    path = tmp_path / "list.toml"
    path.write_text('sources = ["stdlib"]\npackages = ["toolz==1.2.0", "sympy==1.14.0 sympy/ntheory"]\n')
    assert expand(f"list:{path}") == ["stdlib", "package:toolz==1.2.0", "package:sympy==1.14.0 sympy/ntheory"]
    path.write_text('package = ["toolz"]\n')
    with pytest.raises(DataError, match="holds package; its keys can be packages and sources"):
        expand(f"list:{path}")


# As data sets of code come: the text in a column.
ROWS = [
    {"repo_name": "ann/one", "path": "a.py", "license": "mit", "content": INC},
    {"repo_name": "bob/two", "path": "b.py", "license": "bsd", "content": INC + "def g(:\n"},
    {"repo_name": "cat/three", "path": "c.py", "license": "mit",
     "content": "import math\ndef up(x):\n    return math.ceil(x)\n"},
]  # fmt: skip


def write_rows(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.jsonl.gz"])
def test_rows_of_files_are_modules_of_their_projects(tmp_path, name):
    write_rows(tmp_path / name, ROWS)
    (unit,) = expand(f"files:{tmp_path}/*")
    assert [(r.project, r.origin, r.license, r.context) for r in records(unit)] == [
        ("ann/one", "ann/one/a.py", "mit", ""), ("cat/three", "cat/three/c.py", "mit", "import math\n"),
    ]  # fmt: skip


def test_the_column_of_the_text_can_be_named(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"program": INC}])
    with pytest.raises(DataError, match="no column text or content or code or source among program"):
        records(f"files:{tmp_path}/rows.jsonl")
    assert [r.name for r in records(f"files:{tmp_path}/rows.jsonl", Columns("program"))] == ["inc"]


def test_files_that_are_named_by_blob_id_alone_are_fetched(tmp_path):
    """As Stack-Edu has it: the contents lie in Software Heritage's bucket, gzipped, in their own encoding."""
    contents = tmp_path / "content"
    contents.mkdir()
    (contents / "abc").write_bytes(gzip.compress(b"# \xe9\n" + INC.encode()))
    row = {"blob_id": "abc", "repo_name": "ann/one", "path": "/a.py", "src_encoding": "ISO-8859-1",
           "detected_licenses": ["MIT"], "license_type": "permissive"}  # fmt: skip
    write_rows(tmp_path / "rows.parquet", [row])
    (found,) = records(f"files:{tmp_path}/rows.parquet", Columns(contents=f"file://{contents}"))
    assert (found.source, found.license, found.project) == (INC, "MIT", "ann/one")
    with pytest.raises(DataError, match="cannot be read"):
        records(f"files:{tmp_path}/rows.parquet", Columns(contents=f"file://{tmp_path}"))


def test_files_and_contents_may_lie_on_a_server(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    row = {"blob_id": "abc", "repo_name": "ann/one", "path": "/a.py"}
    write_rows(tmp_path / "rows.parquet", [row])
    (tmp_path / "abc").write_bytes(gzip.compress(INC.encode()))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert [r.source for r in records(f"files:{address}/rows.parquet", Columns(contents=address))] == [INC]
        server.shutdown()


def test_a_data_set_of_the_hub_is_streamed_shard_by_shard(tmp_path):
    pytest.importorskip("datasets")
    for number, row in enumerate(ROWS):
        write_rows(tmp_path / f"train-{number}.parquet", [row])
    units = expand(f"hf:{tmp_path}")
    assert len(units) == 3
    assert [r.project for unit in units for r in records(unit)] == ["ann/one", "cat/three"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nothing", "'nothing' is no source: sources are toy"),
        ("list:nowhere.toml", "list:nowhere.toml cannot be read: No such file or directory"),
        ("files:nowhere/rows.parquet", "files:nowhere/rows.parquet matches no file"),
        ("dir:nowhere", "dir:nowhere: there is no such folder"),
        ("mbpp:nowhere.jsonl", "mbpp:nowhere.jsonl cannot be read: No such file or directory"),
    ],
)
def test_a_source_that_is_not_there_has_its_sentence(source, sentence):
    with pytest.raises(KelpError, match=sentence):
        for unit in expand(source):
            records(unit)
