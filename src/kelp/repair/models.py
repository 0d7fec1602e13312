"""Models by name or folder, loaded once and shared, in the background while the sandbox starts."""

import os
import threading
import warnings
from pathlib import Path

import kelp
from kelp.errors import KelpError
from kelp.repair.timing import Timings
from kelp.search.model_policy import Model

SHIPPED = Path(kelp.__file__).parent / "models"


def find(name: str) -> Path | None:
    """Return the folder of a model given by name or path; None for `none`. Raises KelpError."""
    if name == "none":
        return None
    for folder in (SHIPPED / name, Path(name)) if os.sep not in name else (Path(name),):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise KelpError(f"{name} is no model folder: it holds no config.json")
    if name == "default":
        raise KelpError("This installation comes without a default model: use the model none, or name a model folder")
    known = sorted(folder.name for folder in SHIPPED.glob("*") if folder.is_dir())
    raise KelpError(f"There is no model {name!r}: give {', '.join([*known, 'none'])}, or a model folder")


class Loading(threading.Thread):
    """A model being loaded in a thread of its own: importing JAX takes longer than the first test run.

    An interpreter waits for it at its end, since a thread that is stopped in XLA's code aborts the process; the
    command does not (`kelp.cli.main`).
    """

    def __init__(self, folder: Path, timings: Timings) -> None:
        super().__init__()
        self.folder, self.timings = folder, timings
        self.model: Model | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.model = load(self.folder, self.timings)
        except BaseException as error:
            self.error = error

    def result(self) -> Model:
        """Wait for the model. Raises KelpError."""
        self.join()
        if self.error is not None:
            raise self.error
        assert self.model is not None
        return self.model


def load(folder: Path, timings: Timings | None = None) -> Model:
    """Load the model of a folder, for any number of sessions. Raises KelpError."""
    timings = timings or Timings()
    with timings("import_jax"):
        use_compilation_cache()
        from kelp.model.folder import load_model
        from kelp.model.tensors import ModelError
    with timings("load_model"):
        from kelp.encoding.folder import load_encoding
        from kelp.encoding.vocabulary import EncodingError
        from kelp.languages.registry import by_name

        try:
            denoiser, _ = load_model(folder)
        except ModelError as error:
            raise KelpError(str(error)) from None
        try:
            encoder = load_encoding(folder, by_name("python"))
            sizes = {"vocab_size": encoder.tokenizer.size, "site_kinds": len(encoder.kinds)}
            for key, ours in sizes.items():
                if (there := denoiser.cfg.to_dict()[key]) != ours:
                    raise EncodingError(f"{key} is {there} in config.json and {ours} in encoding.json")
        except EncodingError as error:
            raise KelpError(f"The model in {folder} cannot be used: {error}") from None
        return Model(denoiser, encoder)


def use_compilation_cache() -> None:
    """Cache what JAX compiles in the user's cache folder, unless JAX has another; go without a cache if that fails."""
    import jax

    warnings.filterwarnings("ignore", message=".*persistent compilation cache")  # a full disk only costs time
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
