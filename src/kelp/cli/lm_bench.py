"""`kelp lm bench`: the speed of a language model's parts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.lm_generate import Accept
from kelp.cli.lm_model import Block, load, one_sentence
from kelp.errors import KelpError
from kelp.extras import require


def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_RECIPE.toml", help="Model folder, or recipe.")],
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Rows of a batch.")] = 8,
    length: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="Tokens of a row; the recipe's, or at most 512.")
    ] = None,
    write: Annotated[int, typer.Option(min=1, metavar="N", help="Tokens to write after a prompt.")] = 64,
    block: Block = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Passes a block.")] = None,
    accept: Annotated[Accept, typer.Option(help="Number of tokens accepted in a pass.")] = Accept.top_k,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each part.")] = 5,
    as_json: options.AsJson = False,
) -> None:
    """Measure seconds and tokens a second of training, decoding and tokenizing, after compilation.

    A recipe's model has random weights, and its tokenizer is timed where it is there already. Times are medians with
    quartiles. The backward pass is the difference of gradients and loss.

    \b
    Examples:
      kelp lm bench configs/lm-small.toml --rows 4
      kelp lm bench my-lm --accept threshold --json
    """
    require("train", "kelp lm bench")
    import json

    import jax

    from kelp.lm.bench import decoding_times, random_rows, tokenizer_times, training_times
    from kelp.lm.sampler import SampleConfig

    with one_sentence():
        transformer, cfg, lm, optimizer, tokenizer, context = (_recipe if model.is_file() else _folder)(model)
        length = min(context, 512) if length is None else length
        if max(length, write + 8) > context:
            raise KelpError(f"--length {length} and --write {write} do not fit a context of {context} tokens")
        how = SampleConfig(block=block, steps=steps, accept=accept.value)
        batch = random_rows(cfg, transformer.cfg.vocab_size, rows, length)
        prompt = min(64, context - write - 1)
        figures: dict[str, Any] = {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(transformer)),
            "rows": rows,
            "length": length,
            "training": training_times(transformer, cfg, lm, optimizer, batch, repeats),
            "decoding": decoding_times(transformer, cfg, how, prompt=prompt, length=write, rows=rows, repeats=repeats),
            "tokenizer": None if tokenizer is None else tokenizer_times(tokenizer, repeats),
        }
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)


def _folder(folder: Path) -> tuple[Any, ...]:
    """A model folder, with the settings of training that a recipe has by default."""
    from kelp.lm.folder import load_tokenizer
    from kelp.lm.recipe import LMSection
    from kelp.training.optimizer import OptimizerConfig

    model, cfg, _, context = load(folder, autoregressive=True)
    lm = LMSection(block=cfg.block, shift=cfg.shift, clean=cfg.clean)
    return model, cfg, lm, OptimizerConfig(), load_tokenizer(folder, cfg), context


def _recipe(path: Path) -> tuple[Any, ...]:
    """The model of a recipe with random weights. Raises KelpError."""
    import jax

    from kelp.lm.recipe import LMRecipe, make_model_config
    from kelp.model.transformer import Transformer
    from kelp.training.config import load_config

    recipe = load_config(path, LMRecipe)
    section = recipe.data
    tokenizer = section.load_tokenizer() if section.tokenizer.exists() else None
    if tokenizer is None:  # its special tokens come first in a vocabulary that is trained
        size, ids = section.vocab_size, dict(zip(("end", "mask", "pad"), range(3)))
    else:
        size, ids = tokenizer.size, {name: getattr(tokenizer, name) for name in ("end", "mask", "pad")}
    model = Transformer.init(make_model_config(recipe, size), key=jax.random.key(0))
    return model, recipe.lm.with_ids(**ids), recipe.lm, recipe.optimizer, tokenizer, section.length


def _print(figures: dict[str, Any]) -> None:
    from kelp.cli.tables import print_table

    def row(name: str, times: dict[str, Any], rate: str = "") -> list[str]:
        spread = f"[{1e3 * times['low']:.1f}, {1e3 * times['high']:.1f}]"
        return [name, f"{1e3 * times['median']:.1f}", spread, rate]

    training, decoding, tokenizer = (figures[name] for name in ("training", "decoding", "tokenizer"))
    lines = [
        row("forward", training["forward"]),
        row("forward and backward", training["forward_and_backward"]),
        row("optimizer", training["optimizer"], f"{training['tokens_per_second']:,.0f} tokens/s a step"),
    ]
    for by in decoding.values():
        rate = f"{by['tokens_per_second']:,.1f} tokens/s, {by['passes']:.1f} passes"
        lines.append(row(f"write, rows at once: {by['rows']}", by, rate))
    if tokenizer:
        rate = f"{tokenizer['bytes_per_second'] / 1e6:.1f} MB/s, {tokenizer['bytes_per_token']:.2f} bytes a token"
        lines.append(row("tokenizer", tokenizer, rate))
    print_table(["part", "ms", "quartiles", "rate"], lines)
    about = f"{figures['rows']} rows of {figures['length']} tokens, mean mask ratio {training['mask_ratio']:.3f}"
    print(f"{figures['parameters']:,} parameters; {about}")
