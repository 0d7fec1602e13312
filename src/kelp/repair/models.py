"""Which model proposes the edits, by name or folder, and how it gets ready while other things start."""

import json
import os
import threading
import warnings
from pathlib import Path

import kelp
from kelp.cli.files import read
from kelp.cli.timing import Timings
from kelp.errors import Problem
from kelp.search.policy import ModelPolicy

SHIPPED = Path(kelp.__file__).parent / "models"


def find(name: str) -> Path | None:
    """The folder of a model given by name or path; None for `none`. Raises Problem."""
    if name == "none":
        return None
    for folder in (SHIPPED / name, Path(name)) if os.sep not in name else (Path(name),):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise Problem(f"{name} is no model folder: it holds no config.json.")
    if name == "default":
        raise Problem("This installation comes without a default model: try --model none, or name a model folder.")
    known = sorted(folder.name for folder in SHIPPED.glob("*") if folder.is_dir())
    raise Problem(f"There is no model {name!r}: give {', '.join([*known, 'none'])}, or a model folder.")


def kinds_of(folder: Path) -> dict[str, float]:
    """The weights of mutation kinds that a model was trained with, those that are not the usual ones."""
    try:
        kinds: dict[str, float] = json.loads(read(folder / "config.json"))["run"]["data"]["kinds"]
    except (ValueError, KeyError, TypeError):  # one that Kelp did not train
        return {}
    return kinds


class Loading(threading.Thread):
    """A policy being loaded in a thread of its own: importing JAX takes longer than the first test run.

    An interpreter waits for it at its end, since a thread that is stopped in XLA's code aborts the process; the
    command does not (`kelp.cli.main`).
    """

    def __init__(self, folder: Path, timings: Timings) -> None:
        super().__init__()
        self.folder, self.timings = folder, timings
        self.policy: ModelPolicy | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.policy = load(self.folder, self.timings)
        except BaseException as error:
            self.error = error

    def result(self) -> ModelPolicy:
        """Wait for it. Raises Problem."""
        self.join()
        if self.error is not None:
            raise self.error
        assert self.policy is not None
        return self.policy


def load(folder: Path, timings: Timings) -> ModelPolicy:
    """The policy of a model folder. Raises Problem."""
    with timings("import_jax"):
        use_compilation_cache()
        from kelp.model.folder import ModelError, load_model
    with timings("load_model"):
        from kelp.encoding.folder import load_encoding
        from kelp.encoding.vocabulary import EncodingError
        from kelp.languages.registry import by_name

        try:
            denoiser, description = load_model(folder)
        except ModelError as error:
            raise Problem(str(error)) from None
        try:
            encoder = load_encoding(folder, by_name("python"))
            sizes = {"vocab_size": encoder.tokenizer.size, "site_kinds": len(encoder.kinds)}
            for key, ours in sizes.items():
                if description["model"][key] != ours:
                    there = description["model"][key]
                    raise EncodingError(f"{key} is {there} in config.json and {ours} in encoding.json")
        except EncodingError as error:
            raise Problem(f"The model in {folder} cannot be used: {str(error).rstrip('.')}.") from None
        return ModelPolicy(denoiser, encoder)


def use_compilation_cache() -> None:
    """Keep what JAX compiles in the user's cache folder, unless JAX has been told where; go without if that fails."""
    import jax

    warnings.filterwarnings("ignore", message=".*persistent compilation cache")  # a full disk costs time, no more
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kelp" / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
