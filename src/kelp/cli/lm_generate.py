"""`kelp lm generate`: text from a language model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kelp.cli import options
from kelp.cli.lm_model import Block, Model, encode, load, one_sentence
from kelp.errors import KelpError

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
    as_json: options.AsJson = False,
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
    transformer, cfg, tokenizer, context = load(model, autoregressive=mode is Mode.ar)
    row = [cfg.end]
    for number, piece in enumerate(pieces):
        row += [cfg.mask] * int(piece) if number % 2 else encode(tokenizer, piece)
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
    with one_sentence():
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
