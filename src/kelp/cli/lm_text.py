"""`kelp lm generate` and `kelp lm eval`: text from a language model, and its likelihood of texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when a command runs, so that --help is fast
    from tokenizers import Tokenizer

    from kelp.lm.config import DiffusionConfig
    from kelp.model.transformer import Transformer

MASKS = r"<mask:(\d+)>"  # a hole of so many tokens in --infill


class Mode(StrEnum):
    diffusion = "diffusion"
    ar = "ar"


class Accept(StrEnum):
    """Values of `kelp.lm.sampler.Accept`, spelled out so that --help need not load them; so the next two."""

    top_k = "top-k"
    threshold = "threshold"
    entropy = "entropy"


class Choose(StrEnum):
    low_confidence = "low-confidence"
    random = "random"
    margin = "margin"


class Revise(StrEnum):
    none = "none"
    remask = "remask"
    edit = "edit"


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.")]
Block = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Tokens a block, 0 for one block; the model's own if left out."),
]


def generate(
    model: Model,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Text to continue.")] = None,
    infill: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text with holes: <mask:40> is one of 40 tokens.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, metavar="N", help="Most tokens to write after --prompt.")] = 128,
    block: Block = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Passes a block; one a token if left out.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, metavar="T", help="0 takes the most probable token, 1 samples the model.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option("--top-p", metavar="P", help="Sample among the most probable tokens of this joint share.")
    ] = 1.0,
    accept: Annotated[Accept, typer.Option(help="Number of tokens accepted in a pass.")] = Accept.top_k,
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Probability above which --accept threshold takes a token.")
    ] = 0.9,
    entropy: Annotated[
        float, typer.Option(metavar="NATS", help="Joint entropy up to which --accept entropy takes tokens.")
    ] = 0.1,
    choose: Annotated[Choose, typer.Option(help="Order in which tokens are accepted.")] = Choose.low_confidence,
    revise: Annotated[
        Revise, typer.Option(help="Mask accepted tokens of the block again, or replace them.")
    ] = Revise.none,
    guidance: Annotated[
        float, typer.Option(min=0, metavar="S", help="Scale of classifier-free guidance by the prompt.")
    ] = 0.0,
    mode: Annotated[Mode, typer.Option(help="ar decodes one token after the other.")] = Mode.diffusion,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of sampling.")] = 0,
    profile: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a trace of the decoding, without its compilation.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Continue a prompt, or fill the holes of a text.

    A hole sees the text after it only within its own block: --block 0 shows it the whole. In --infill, \\n is a line
    break where the text has no real one.

    \b
    Examples:
      kelp lm generate my-lm --prompt "def add(a, b):" --accept threshold
      kelp lm generate my-lm --infill "def f(x):\\n<mask:12>\\n    return y" --block 0
      kelp lm generate my-lm --prompt "import " --mode ar --temperature 0.8 --top-p 0.95 --seed 7
    """
    import json
    import re
    import time
    from contextlib import nullcontext
    from functools import partial

    if (prompt is None) == (infill is None):
        raise KelpError("Give either --prompt or --infill.")
    if mode is Mode.ar and block not in (None, 1):
        raise KelpError("--mode ar decodes blocks of one token: leave --block out.")
    if infill is None:
        pieces = [prompt or ""]
    else:
        pieces = re.split(MASKS, infill if "\n" in infill else infill.replace(r"\n", "\n"))
        if not any(int(count) for count in pieces[1::2]):
            raise KelpError("--infill has no hole: write <mask:40> where 40 tokens are missing.")
    import jax.numpy as jnp

    from kelp.lm.sampler import SampleConfig, sample
    from kelp.training.profile import tracing

    try:
        how = SampleConfig(
            block=1 if mode is Mode.ar else block, steps=steps, accept=accept.value, choose=choose.value,
            revise=revise.value, threshold=threshold, entropy=entropy, temperature=temperature, top_p=top_p,
            guidance=guidance, seed=seed,
        )  # fmt: skip
    except ValueError as error:
        raise KelpError(f"--{error}".replace("_", "-")) from None
    transformer, cfg, tokenizer, context = _load(model, autoregressive=mode is Mode.ar)
    row = [cfg.end]
    for number, piece in enumerate(pieces):
        row += [cfg.mask] * int(piece) if number % 2 else _encode(tokenizer, piece)
    given = len(row)
    row += [cfg.mask] * (length if infill is None else 0)
    if len(row) > context:
        rest = f" and --length {length}" if infill is None else ""
        raise KelpError(
            f"The text of {given} tokens{rest} is longer than the context of {context} tokens", "shorten it"
        )
    names = tokenizer.get_vocab_size(with_added_tokens=True)  # the model may have room for more
    decode = partial(
        sample, transformer, cfg, [row], how, lambda row, i: jnp.arange(transformer.cfg.vocab_size) < names
    )
    with _one_sentence():
        if profile:
            decode()
        began = time.perf_counter()
        with tracing(profile) if profile else nullcontext():
            result = decode()
    seconds = time.perf_counter() - began
    tokens = result.tokens[0, 1 : result.lengths[0]].tolist()
    whole = tokenizer.decode(tokens, skip_special_tokens=False)
    if not as_json:
        print(whole)
        return
    figures = {
        "text": whole,
        "completion": tokenizer.decode(tokens[given - 1 :], skip_special_tokens=False) if infill is None else None,
        "tokens": int(result.written[0]),
        "ended": bool(result.lengths[0] < len(row)),
        "passes": int(result.passes[0]),
        "tokens_per_pass": round(result.per_pass, 4),
        "seconds": round(seconds, 4),
        "seed": seed,
    }
    print(json.dumps(figures))


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(metavar="GLOB", help="Text files, each a document.")],
    samples: Annotated[
        int, typer.Option(min=2, metavar="N", help="Monte Carlo samples of the bound of each document.")
    ] = 8,
    block: Block = None,
    length: Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens of a window of a longer text.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the masks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the bits per byte of texts: an upper bound with its 95 % interval, exact for blocks of one token.

    \b
    Examples:
      kelp lm eval my-lm --data "held-out/*.py"
      kelp lm eval my-lm --data "held-out/**/*.py" --block 1 --json
    """
    import glob
    import json
    from dataclasses import replace
    from functools import partial

    paths = sorted(path for path in map(Path, glob.glob(data, recursive=True)) if path.is_file())
    try:
        texts = [text for text in (path.read_text(encoding="utf-8") for path in paths) if text]
    except UnicodeDecodeError as error:
        raise KelpError(f"A file of --data {data} is not UTF-8: {error.reason}") from None
    if not texts:
        raise KelpError(f"--data {data} names no file with text")
    transformer, cfg, tokenizer, context = _load(model)
    window = min(context - 1, 1024) if length is None else length
    if window >= context:
        raise KelpError(f"--length {window} does not fit a context of {context} tokens", f"at most {context - 1} does")
    with _one_sentence():
        from kelp.lm.likelihood import text_likelihood

        cfg = cfg if block is None else replace(cfg, block=block)
        encode = partial(_encode, tokenizer)
        result = text_likelihood(transformer, cfg, texts, encode, length=window, samples=samples, seed=seed)
    bits, spread = result.bits_per_byte, result.over_documents
    if not as_json:
        kind = "exact" if cfg.block == 1 else "upper bound"
        print(f"{bits} bits per byte ({kind}), {len(texts)} documents, {result.sizes.sum():,} bytes")
        if len(texts) > 1:
            print(f"{spread} as a sample of such documents")
        return
    figures: dict[str, Any] = {
        "bits_per_byte": bits.mean,
        "exact": cfg.block == 1,
        "interval": [bits.low, bits.high],
        "interval_over_documents": [spread.low, spread.high] if len(texts) > 1 else None,
        "documents": len(texts),
        "bytes": int(result.sizes.sum()),
        "block": cfg.block,
        "samples": samples,
        "seed": seed,
    }
    print(json.dumps(figures))


def _load(folder: Path, *, autoregressive: bool = False) -> "tuple[Transformer, DiffusionConfig, Tokenizer, int]":
    """A model, how it predicts, its tokenizer and its context in tokens. Raises KelpError."""
    from tokenizers import Tokenizer

    from kelp.lm.folder import load_lm
    from kelp.model.tensors import ModelError, read_json

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


def _encode(tokenizer: "Tokenizer", text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn a ValueError about a setting into a KelpError."""
    try:
        yield
    except ValueError as error:
        raise KelpError(str(error)[:1].upper() + str(error)[1:]) from None
