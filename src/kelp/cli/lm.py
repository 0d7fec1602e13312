"""`kelp lm`: a language model's tokenizer and data, and the commands of the other `lm_` files."""

import json
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.cli import options
from kelp.cli.lm_bench import bench
from kelp.cli.lm_eval import evaluate
from kelp.cli.lm_generate import generate
from kelp.cli.progress import counter, progress_bar
from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.extras import require

if TYPE_CHECKING:
    from kelp.lm.text import DataSection

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command()(generate)
app.command("eval")(evaluate)
app.command()(bench)
tokenizer_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(tokenizer_app, name="tokenizer")


class Form(StrEnum):
    bin = "bin"
    parquet = "parquet"
    jsonl = "jsonl"


@app.callback()
def lm() -> None:
    """Prepare the text of a masked-diffusion language model, write with it, and measure it.

    \b
    Examples:
      kelp lm tokenizer train configs/lm-small.toml
      kelp lm data configs/lm-small.toml
      kelp lm generate my-lm --prompt "def add(a, b):"
      kelp lm eval my-lm --data "held-out/*.py"
      kelp lm bench my-lm
    """


@tokenizer_app.callback()
def tokenizer() -> None:
    """Make a tokenizer.

    \b
    Examples:
      kelp lm tokenizer train --files 'texts/*.txt' --vocab-size 8192 --out tokenizer
    """


@tokenizer_app.command("train")
def train_tokenizer(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE.toml", help="Recipe, for its [data].", show_default=False)
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Text, JSON lines or Parquet, local or at a URL; repeatable."),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens (default: the recipe's, or 16,384).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to fill (default: the recipe's tokenizer).")
    ] = None,
    max_documents: Annotated[int | None, typer.Option(min=1, metavar="N", help="Documents to read at most.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train a byte-level BPE on the training text of a recipe, or on files.

    DIR gets tokenizer.json, and GPT-2's vocab.json and merges.txt.

    \b
    Examples:
      kelp lm tokenizer train configs/lm-small.toml
      kelp lm tokenizer train --files 'texts/*.txt' --vocab-size 8192 --out tokenizer
      kelp lm tokenizer train --files 'gs://bucket/python/*.parquet' --max-documents 200000 --out tokenizer
    """
    require("data", "kelp lm tokenizer train")
    from kelp.bucket import local, upload
    from kelp.lm.text import DataSection, documents
    from kelp.lm.tokenizer import Tokenizer

    if (recipe is None) == (not files):
        raise KelpError("give either a recipe or --files")
    if recipe is not None:
        section = _data(recipe)
    elif out is not None:
        sources = tuple(f"files:{pattern}" for pattern in files or ())
        section = DataSection(sources=sources, tokenizer=out, folder=out, valid_share=0)
    else:
        raise KelpError("--files needs --out, the folder to fill")
    out = local(out) if out else section.tokenizer
    if out.is_file():
        raise KelpError(f"{out} is a file: name a folder to fill with --out")
    size = vocab_size or section.vocab_size
    read = {"documents": 0, "characters": 0}
    with progress_bar() as bar:
        count = counter(bar, "documents")

        def texts() -> Iterator[str]:
            for document in islice((d for d in documents(section) if not d.valid), max_documents):
                if isinstance(document.text, str):
                    count()
                    read["documents"] += 1
                    read["characters"] += len(document.text)
                    yield document.text

        made = Tokenizer.train(texts(), size, section.special)
    if not read["documents"]:
        raise KelpError(f"{', '.join(section.sources)} hold no text to train on")
    made.save(out)
    upload(out)
    if as_json:
        print(json.dumps({"out": str(out), "tokens": made.size, "fingerprint": made.fingerprint, **read}))
        return
    print(f"{out}: {made.size:,} tokens from {read['documents']:,} documents, {read['characters']:,} characters")


@app.command()
def data(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Recipe, for its [data].")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to fill (default: the recipe's folder).")
    ] = None,
    form: Annotated[Form, typer.Option("--format", metavar="bin|parquet|jsonl", help="Training reads bin.")] = Form.bin,
    as_json: options.AsJson = False,
) -> None:
    """Tokenize the text of a recipe ahead of training.

    `kelp train` does the same first, unless the recipe streams its text. docs/lm.md describes the files.

    \b
    Examples:
      kelp lm data configs/lm-small.toml
      kelp lm data configs/lm-small.toml --format parquet --out tokens
    """
    require("data", "kelp lm data")
    from kelp.lm.ahead import write

    section = _data(recipe).model_copy(update={"streaming": False})
    out = out or section.folder
    with progress_bar() as bar:
        meta = write(section, section.load_tokenizer(), out, form.value, bar)
    if as_json:
        print(json.dumps(meta))
        return
    for origin in meta["origin"]:
        print(", ".join(f"{key} {value}" for key, value in origin.items() if value is not None))
    rows = [[split, *(f"{number:,}" for number in meta[split].values())] for split in ("train", "valid")]
    print_table(["split", "documents", "tokens", "bytes"], rows)
    print(f"{out}: tokens as {form.value}")


def _data(recipe: Path) -> "DataSection":
    """The section [data] of a recipe; the other sections belong to the model. Raises KelpError."""
    from kelp.data.examples.recipe import find_recipe
    from kelp.lm.text import DataRecipe
    from kelp.training.config import load_config

    return load_config(find_recipe(str(recipe)), DataRecipe).data
