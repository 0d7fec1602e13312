"""Folders in a bucket: an S3 server on this machine, stopped and started again, and several machines' copies."""

import shutil
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.s3 import Server, serving

from kelp import bucket
from kelp.errors import KelpError

pytestmark = pytest.mark.slow

PLACE = "s3://runs/some/run"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch, tmp_path) -> Server:
    """The server, with an empty bucket `runs`, as this machine reaches it."""
    for name, value in (running.environment | {"XDG_CACHE_HOME": str(tmp_path / "first machine")}).items():
        monkeypatch.setenv(name, value)
    running.empty()
    return running


@pytest.fixture
def move(monkeypatch, tmp_path) -> Callable[[], Path]:
    """Go on on another machine, which has no copy yet; the folder of its copy."""

    def go() -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second machine"))
        shutil.rmtree(tmp_path / "second machine", ignore_errors=True)
        return bucket.fetched(PLACE)

    return go


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    names = (path for path in folder.rglob("*") if path.is_file() and path.name != bucket.LIST)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in names}


def test_a_url_has_a_local_copy_and_a_path_is_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = bucket.local("gs://bucket/a folder/")
    assert folder == tmp_path / "kelp/buckets/gs/bucket/a folder" == bucket.local(Path("gs://bucket/a folder"))
    assert bucket.url(folder) == "gs://bucket/a folder" and bucket.shown(folder / "x") == "gs://bucket/a folder/x"
    assert bucket.local("runs/toy") == Path("runs/toy") and bucket.url(Path("runs/toy")) is None


def test_a_mounted_folder_serves_as_well(monkeypatch, tmp_path):
    place = f"file://{tmp_path}/mounted bucket/run"
    for machine in ("first", "second", "first"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        with bucket.worked_on(place) as folder:
            write(folder, checkpoints__10__a="ten", **{machine: "was here"})
    assert bucket.url(folder) == place
    assert contents(folder) == contents(tmp_path / "mounted bucket/run")
    assert contents(folder) == {"checkpoints/10/a": "ten", "first": "was here", "second": "was here"}


def test_work_of_one_machine_goes_on_on_another(server, move, monkeypatch, tmp_path):
    with bucket.worked_on(PLACE) as first:
        write(first, log="1", checkpoints__10__a="ten", checkpoints__10__deep__b="more", **{".hidden": "no"})
        write(first, **{"checkpoints__20.orbax-checkpoint-tmp-1__a": "not whole"})
    second = move()
    assert contents(second) == {"log": "1", "checkpoints/10/a": "ten", "checkpoints/10/deep/b": "more"}
    with bucket.worked_on(PLACE) as second:
        shutil.rmtree(second / "checkpoints/10")
        write(second, log="12", checkpoints__20__a="twenty")
    write(first, log="a change that another machine has overtaken")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first machine"))
    assert bucket.fetched(PLACE) == first and (first / ".hidden").exists()
    assert contents(second) == {"log": "12", "checkpoints/20/a": "twenty"}
    assert contents(second).items() <= contents(first).items() and not (first / "checkpoints/10/a").exists()


def test_a_copy_that_is_newer_than_the_bucket_stays(server):
    with bucket.worked_on(PLACE) as folder:
        write(folder, log="1")
    write(folder, log="12")  # as after a crash before the upload
    assert contents(bucket.fetched(PLACE)) == {"log": "12"}


@pytest.mark.parametrize("operation", range(6))
def test_an_upload_that_is_cut_short_leaves_the_folder_as_it_was(server, move, monkeypatch, operation):
    """Two new files, the list, and a file to delete: whichever operation fails, what another machine fetches fits."""
    before = {"log": "1", "checkpoints/10/a": "ten", "checkpoints/10/b": "more"}
    after = {"log": "1", "checkpoints/20/a": "twenty", "checkpoints/20/b": "more"}
    with bucket.worked_on(PLACE) as folder:
        write(folder, **{name.replace("/", "__"): text for name, text in before.items()})
    shutil.rmtree(folder / "checkpoints/10")
    write(folder, checkpoints__20__a="twenty", checkpoints__20__b="more")
    system, _ = bucket._open(PLACE)
    left = [operation]

    def limited(method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if not left[0]:
                raise OSError("the machine is gone")
            left[0] -= 1
            return method(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("put_file", "pipe_file", "rm_file"):
            patched.setattr(system, name, limited(getattr(system, name)))
        if operation < 5:
            with pytest.raises(KelpError, match=rf"{PLACE} cannot be written: the machine is gone\."):
                bucket.upload(folder)
        else:
            bucket.upload(folder)
    assert contents(move()) == (before if operation < 3 else after)


def test_a_bucket_that_is_gone_for_a_while_stops_nothing(server, move, monkeypatch, capsys):
    monkeypatch.setattr(bucket, "LOOK_SECONDS", 0.05)
    folder = bucket.fetched(PLACE)
    with bucket.following(folder, lambda: sorted(path.name for path in folder.glob("checkpoints/*"))):
        write(folder, checkpoints__10__a="ten")
        system, root = bucket._open(PLACE)
        wait_for(lambda: system.exists(f"{root}/{bucket.LIST}"))
        server.stop()
        write(folder, checkpoints__20__a="twenty")
        wait_for(lambda: "cannot be written" in capsys.readouterr().err)
        server.start()
        write(folder, checkpoints__30__a="thirty")
    assert contents(move()) == {f"checkpoints/{n}/a": text for n, text in ((10, "ten"), (20, "twenty"), (30, "thirty"))}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_bucket_that_stays_away_is_one_sentence_and_all_is_in_the_copy(server, monkeypatch):
    monkeypatch.setattr(bucket, "GIVE_UP_SECONDS", 0)
    folder = bucket.fetched(PLACE)
    server.stop()
    try:
        says = f"{PLACE} cannot be written: .* All is in {folder}, and the same command"
        with pytest.raises(KelpError, match=says), bucket.following(folder, lambda: 0):
            write(folder, log="1")
    finally:
        server.start()
    bucket.upload(folder)


def test_training_goes_on_on_another_machine_with_the_same_figures(server, move):
    from tests.training.fake import rows, run

    from kelp.training.checkpoint import kept, saved_steps

    def train(out: Path, steps: int) -> None:
        options = Namespace(objective="bytes", mesh=[1, 1, 1], die_at=None, lengths=[16], optimizer="adamw")
        with kept(out):
            run(Namespace(out=out, steps=steps, resume_from="newest", **vars(options)))

    first = bucket.local(PLACE)
    train(first, 6)
    second = move()
    assert saved_steps(second / "checkpoints")[-1] == 6
    train(second, 9)
    train(first, 9)  # by now no longer the copy, but a folder like any other
    assert rows(second) == rows(first) and rows(second)[-1]["step"] == 9


def test_a_model_in_a_bucket_may_be_part_of_a_run_or_come_from_another_program(server, move):
    with bucket.worked_on(PLACE) as run:
        write(run, log="1", **{"model/config.json": "{}", "model/weights": "first"})
    folder = bucket.local(f"{PLACE}/model")
    assert bucket.url(folder) == f"{PLACE}/model"
    before = (folder / "weights").stat()
    bucket.fetch_model(folder)  # as the run's list says, it is here already
    assert (folder / "weights").stat() == before
    move()
    shutil.rmtree(bucket.local(PLACE))
    bucket.fetch_model(bucket.local(f"{PLACE}/model"))
    assert contents(bucket.local(PLACE)) == {"model/config.json": "{}", "model/weights": "first"}

    system, _ = bucket._open(PLACE)
    system.pipe_file("runs/theirs/config.json", b"{}")
    system.pipe_file("runs/theirs/deep/weights", b"theirs")
    theirs = bucket.local("s3://runs/theirs")
    bucket.fetch_model(theirs)
    assert contents(theirs) == {"config.json": "{}", "deep/weights": "theirs"}
    system.pipe_file("runs/theirs/deep/weights", b"other weights")
    system.rm_file("runs/theirs/config.json")
    with pytest.raises(KelpError, match=r"^s3://runs/theirs holds no model\.$"):
        bucket.fetch_model(theirs)
    system.pipe_file("runs/theirs/config.json", b"{ }")
    bucket.fetch_model(theirs)
    assert contents(theirs) == {"config.json": "{ }", "deep/weights": "other weights"}
