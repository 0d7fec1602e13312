"""Folders in a bucket (s3://, gs://): each is worked on in a local copy, which is fetched before and uploaded after.

file:///FOLDER is the same for a bucket that is mounted there, or any other disk that is slow or may go away.

The list `kelp-files.json` in the bucket names the files that belong to the folder, and is replaced last: whoever
fetches while an upload is under way, or after it was cut short, gets the folder as it was before.
"""

import json
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from kelp.errors import KelpError
from kelp.extras import install
from kelp.files import atomic, cache_folder

LIST = "kelp-files.json"  # {"version": one of each upload, "files": {name: [bytes, time of change in ns]}}
LOOK_SECONDS = 2  # between looks at a folder that is uploaded as it grows
GIVE_UP_SECONDS = 300  # for the last upload, with a bucket that does not answer
Files = dict[str, list[int]]


def copies() -> Path:
    """The folder of the local copies."""
    return cache_folder("buckets")


def local(path: str | Path) -> Path:
    """Folder of the local copy of a URL, also of one that went through Path and lost a slash; any other path as is."""
    match = re.fullmatch(r"(s3|gs|file):/+(.+?)/*", str(path))
    return copies() / match[1] / match[2] if match else Path(path)


def url(path: Path) -> str | None:
    """URL of the folder that this is the local copy of; None for any other path."""
    with suppress(ValueError):
        scheme, *parts = path.relative_to(copies()).parts
        return f"{scheme}://{'/' if scheme == 'file' else ''}{'/'.join(parts)}"
    return None


def shown(path: Path) -> str:
    """The URL of a local copy; any other path as is."""
    return url(path) or str(path)


Folder = Annotated[Path, BeforeValidator(local), PlainSerializer(shown, return_type=str, when_used="json")]


def fetched(path: str | Path) -> Path:
    """Local folder of a path or URL, with what the bucket holds. Raises KelpError."""
    folder = local(path)
    fetch(folder)
    return folder


@contextmanager
def worked_on(path: str | Path) -> Iterator[Path]:
    """Local folder of a path or URL, fetched before the block and uploaded after it. Raises KelpError."""
    folder = fetched(path)
    yield folder
    upload(folder)


def fetch(folder: Path) -> None:
    """Make a local copy like its folder in the bucket, unless that has not changed since. Raises KelpError.

    Nothing happens where the bucket has no such folder, or the path is no copy.
    """
    if (place := url(folder)) is None:
        return
    with _errors(place, "read"):
        system, root = _open(place)
        listed = _read(system, root)
        if listed is None or listed["version"] == _last(folder).get("version"):
            return
        _download(system, root, folder, listed["files"])
        _remember(folder, listed)


def fetch_model(folder: Path) -> None:
    """Make a local copy like the model in the bucket, which may belong to a run there or come from another program.

    Nothing happens where the path is no copy. Raises KelpError.
    """
    if (place := url(folder)) is None:
        return
    with _errors(place, "read"):
        system, root = _open(place)
        files = _model_files(system, root)
        if "config.json" not in files:
            raise KelpError(f"{place} holds no model.")
        _download(system, root, folder, files)


def upload(folder: Path) -> None:
    """Make the folder in the bucket like its local copy, in steps that leave it whole. Raises KelpError."""
    if (place := url(folder)) is None:
        return
    with _errors(place, "written"):
        system, root = _open(place)
        before = (_read(system, root) or {"files": {}})["files"]
        files = _files(folder)
        new = [name for name, state in files.items() if before.get(name) != state]
        overwritten = {unit for name in new if name in before and (unit := _unit(name)) != name}
        if overwritten:  # old and new files of one checkpoint do not mix
            _write(system, root, {name: state for name, state in before.items() if _unit(name) not in overwritten})
        for name in new:
            with suppress(FileNotFoundError):  # deleted meanwhile: the next upload takes it off the list
                system.put_file(str(folder / name), f"{root}/{name}")
        if new or before.keys() != files.keys():
            _remember(folder, _write(system, root, files))
        for name in before.keys() - files.keys():
            with suppress(FileNotFoundError):
                system.rm_file(f"{root}/{name}")


@contextmanager
def following(folder: Path, parts: Callable[[], Any]) -> Iterator[None]:
    """Upload a local copy whenever `parts()` has changed within the block, and at its end; else nothing.

    A bucket that does not answer does not stop the block: the upload is tried again. Raises KelpError where the last
    one fails for minutes.
    """
    place = url(folder)
    if place is None:
        yield
        return
    ended, done = threading.Event(), parts()

    def follow() -> None:
        nonlocal done
        failed = False
        while not ended.wait(LOOK_SECONDS):
            if (found := parts()) == done:
                continue
            try:
                upload(folder)
                done, failed = found, False
            except KelpError as error:
                if not failed:
                    print(f"\n{error} The run goes on, and the upload is tried again.", file=sys.stderr)
                failed = True

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _upload_at_last(folder)


def _upload_at_last(folder: Path) -> None:
    end = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            return upload(folder)
        except KelpError as error:
            if time.monotonic() > end:
                raise KelpError(f"{error} All is in {folder}, and the same command uploads it.") from None
            time.sleep(LOOK_SECONDS)


def _open(place: str) -> tuple[Any, str]:
    """File system and path of a URL."""
    try:
        import fsspec

        options = {"auto_mkdir": True} if place.startswith("file:") else {"use_listings_cache": False}
        system, root = fsspec.core.url_to_fs(place, **options)
    except ImportError as error:  # fsspec itself, or the library that its message names for this kind of URL
        raise KelpError(f"{place} cannot be reached: {str(error).rstrip('.')} ({install('bucket')}).") from None
    return system, root


@contextmanager
def _errors(place: str, done: str) -> Iterator[None]:
    try:
        yield
    except KelpError:
        raise
    except Exception as error:  # of any library below fsspec
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise KelpError(f"{place} cannot be {done}: {reason}.") from error


def _read(system: Any, root: str) -> dict[str, Any] | None:
    try:
        listed: dict[str, Any] = json.loads(system.cat_file(f"{root}/{LIST}"))
    except FileNotFoundError:
        return None
    return listed


def _model_files(system: Any, root: str) -> Files:
    """Files that a list there or above names below the folder; where none does, those that are there."""
    parts = root.split("/")
    for depth in range(len(parts), 0, -1):
        listed = None
        with suppress(PermissionError):  # above the folder
            listed = _read(system, "/".join(parts[:depth]))
        below = "".join(f"{part}/" for part in parts[depth:])
        named = (listed or {"files": {}})["files"].items()
        if files := {name.removeprefix(below): state for name, state in named if name.startswith(below)}:
            return files
    return {
        path.removeprefix(f"{root}/"): [info["size"], int(system.modified(path).timestamp() * 1e9)]
        for path, info in system.find(root, detail=True).items()
    }


def _download(system: Any, root: str, folder: Path, files: Files) -> None:
    here = _files(folder)
    for name, [size, changed] in files.items():
        if here.pop(name, None) != [size, changed]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with atomic(folder / name) as new:
                system.get_file(f"{root}/{name}", str(new))
                os.utime(new, ns=(changed, changed))
    for name in here:
        (folder / name).unlink(missing_ok=True)


def _write(system: Any, root: str, files: Files) -> dict[str, Any]:
    listed = {"version": uuid.uuid4().hex, "files": files}
    system.pipe_file(f"{root}/{LIST}", json.dumps(listed).encode())
    return listed


def _last(folder: Path) -> dict[str, Any]:
    """The list that was fetched or uploaded last."""
    try:
        last: dict[str, Any] = json.loads((folder / LIST).read_text())
    except (OSError, ValueError):
        return {}
    return last


def _remember(folder: Path, listed: dict[str, Any]) -> None:
    with atomic(folder / LIST) as new:
        new.write_text(json.dumps(listed))


def _unit(name: str) -> str:
    """The checkpoint that a file belongs to (checkpoints/20), or else the file itself."""
    parts = name.split("/")
    return "/".join(parts[:2] if len(parts) > 2 else parts)


def _files(folder: Path) -> Files:
    """Files of a folder, but for those that are not finished."""
    found: Files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == LIST or re.search(r"(^|/)\.|\.orbax-checkpoint-tmp", name):
            continue
        with suppress(FileNotFoundError):
            if path.is_file():
                state = path.stat()
                found[name] = [state.st_size, state.st_mtime_ns]
    return found
