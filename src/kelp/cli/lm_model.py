"""Model folder of a `kelp lm` command: its argument, and its loading with every fault as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when a command runs, so that --help is fast
    from tokenizers import Tokenizer

    from kelp.lm.config import DiffusionConfig
    from kelp.lm.tokenizer import Tokenizer as TextTokenizer
    from kelp.model.transformer import Transformer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Name of an imported model, or model folder.")]
Block = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Tokens a block, 0 for one block; the model's own if left out."),
]


def load(folder: Path, *, autoregressive: bool = False) -> "tuple[Transformer, DiffusionConfig, Tokenizer, int]":
    """A model, how it predicts, its tokenizer and its context in tokens. Raises KelpError."""
    from tokenizers import Tokenizer

    from kelp.lm.folder import load_lm
    from kelp.model.store import find
    from kelp.model.tensors import ModelError, read_json

    folder = find(folder)
    try:
        model, cfg = load_lm(folder, autoregressive=autoregressive)
        context = read_json(folder / "config.json").get("max_position_embeddings", 2048)
    except ModelError as error:
        raise KelpError(str(error)) from None
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise KelpError(f"{folder} is no language model: tokenizer.json is missing")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise KelpError(f"{path} is damaged: {error}") from None
    words = tokenizer.get_vocab_size(with_added_tokens=True)
    if words > model.cfg.vocab_size:
        raise KelpError(f"{path} has {words} tokens and the model {model.cfg.vocab_size}: it is not the model's")
    for name in ("end", "pad") if autoregressive else ("mask", "end", "pad"):
        number = getattr(cfg, name)
        if tokenizer.id_to_token(number) is None:
            raise KelpError(f"{path} has no token {number}, the model's {name} token: it is not the model's")
    return model, cfg, tokenizer, context


class Loaded:
    """A model with its tokenizer, and the tokens of a window."""

    model: "Transformer"
    cfg: "DiffusionConfig"
    tokenizer: "TextTokenizer"

    def __init__(self, folder: Path, length: int | None, whole: bool, *, autoregressive: bool = False) -> None:
        """Load a folder; a window of `whole` texts holds the end-of-text token before them too. Raises KelpError."""
        from kelp.lm.folder import load_tokenizer

        self.folder = folder
        self.model, self.cfg, _, context = load(folder, autoregressive=autoregressive)
        self.window = min(context - (not whole), 1024) if length is None else length
        if self.window + (not whole) > context:
            hint = f"at most {context - (not whole)} does"
            raise KelpError(f"--length {length} does not fit a context of {context} tokens", hint)
        self.tokenizer = load_tokenizer(folder, self.cfg)


def encode(tokenizer: "Tokenizer", text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a ValueError about a setting into a KelpError."""
    try:
        yield
    except ValueError as error:
        raise KelpError(str(error)[:1].upper() + str(error)[1:]) from None
