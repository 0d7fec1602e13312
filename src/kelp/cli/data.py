"""`kelp data`: make the examples of a recipe, and inspect them."""

import json
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.progress import progress_bar
from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.extras import require
from kelp.files import check_writable, write

if TYPE_CHECKING:
    from kelp.data.examples.inspect import View
    from kelp.data.examples.make import DataConfig

STYLES = {"pass": "green", "fail": "red", "error": "red", "timeout": "yellow"}
PARTS = ("<intent>", "<spec>", "<obs>", "<program>")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Make the training examples of a recipe, and inspect them.

    \b
    Examples:
      kelp data build configs/toy.toml
      kelp data inspect configs/toy.toml
    """


@app.command()
def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Recipe, as in configs/.")],
    engine: options.EngineOption = options.Engine.local,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes (default: one per core).")] = None,
) -> None:
    """Make the training examples of a recipe.

    `kelp train` does the same first. A build that was killed resumes where it was.

    \b
    Examples:
      kelp data build configs/toy.toml
      kelp data build configs/laptop.toml --jobs 16
    """
    require("data", "kelp data build")
    from kelp.bucket import worked_on
    from kelp.data.examples.build import build
    from kelp.data.examples.inspect import padding
    from kelp.data.examples.shards import Shards

    config = _recipe(recipe)
    with worked_on(config.folder), progress_bar() as bar:
        build(config, jobs=jobs, engine=engine.value, progress=bar)
    made = Shards(config.folder)
    train, valid, *lengths = len(made.train), len(made.valid), *made.row_lengths
    waste = padding(made.buckets)[-1]["padding"]
    functions = made.meta["records"]
    print(f"{config.folder}: {train:,} training examples from {functions:,} functions, {valid:,} held-out ones")
    several = f"{len(lengths)} lengths" if len(lengths) > 1 else "1 length"
    print(f"Rows of {several}: {' '.join(map(str, lengths))} tokens ({waste or 0:.1%} is padding)")
    print(f"Next: kelp data inspect {recipe}")


@app.command("inspect")
def look(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|FOLDER", help="Recipe, or a folder of built data.")],
    index: Annotated[int | None, typer.Option(min=0, metavar="N", help="Show example number N alone.")] = None,
    count: Annotated[int, typer.Option(min=0, metavar="N", help="Examples to show.")] = 3,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="Examples drawn for the tables and the page.")] = 300,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the draw.")] = 0,
    html: Annotated[Path | None, typer.Option(metavar="OUT.html", help="Page of all examples drawn.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show training examples and their statistics.

    Each shows the clean program and the broken one, the path of edits back, the correct first edits, the tokens of the
    model's input («these» are correct sites, ‸ is a correct place to insert), and the tests' results. Examples are made
    anew, from the functions in the folder and the settings of the recipe: try out settings before a build.

    \b
    Examples:
      kelp data inspect configs/toy.toml
      kelp data inspect runs/data/toy --count 0 --sample 2000
      kelp data inspect runs/data/toy --index 17
      kelp data inspect configs/toy.toml --html examples.html
    """
    require("data", "kelp data inspect")
    import random

    from kelp.data.examples.build import example_maker
    from kelp.data.examples.inspect import cell, tables, view

    if html is not None:
        check_writable(html)
    config = _recipe(source) if source.is_file() or source.suffix == ".toml" else _built(source)
    if index is not None and index >= config.examples:
        raise KelpError(f"--index {index}: the recipe has {config.examples} examples, counted from 0.")
    if not all((config.folder / name).exists() for name in ("records.parquet", "tokenizer.json", "bank.json.gz")):
        raise KelpError(f"{config.folder} holds no functions yet: kelp data build {source} makes them.")
    several = sorted(random.Random(seed).sample(range(config.examples), min(max(sample, count), config.examples)))
    numbers = several if index is None else [index]
    views = []
    with closing(example_maker(config, "train")) as maker, progress_bar() as bar:
        for number in numbers:
            views.append(view(maker, number))
            bar("examples", len(views), len(numbers))
    found = tables(views) | _padding(config) if index is None else {}
    shown = views if index is not None else random.Random(seed).sample(views, min(count, len(views)))
    if html is not None:
        from kelp.web.examples import render_examples

        write(html, render_examples(str(source), views, found).encode())
    if as_json:
        print(json.dumps({"examples": [asdict(v) for v in shown], "tables": found}, indent=1))
        return
    for v in shown:
        _print_example(v)
    for title, rows in ((title, rows) for title, rows in found.items() if rows):
        print(title)
        print_table(list(rows[0]), [[cell(*pair) for pair in row.items()] for row in rows])
        print()


def _padding(config: "DataConfig") -> dict[str, Any]:
    """The table of row lengths, where the shards of exactly this configuration exist."""
    from kelp.data.examples.inspect import padding
    from kelp.data.examples.shards import Shards
    from kelp.data.record import DataError

    try:
        return {"padding": padding(Shards(config.folder).buckets)} if _built(config.folder) == config else {}
    except (DataError, KelpError):
        return {}


def _recipe(path: Path) -> "DataConfig":
    from kelp.data.examples.recipe import find_recipe, load_recipe

    return load_recipe(find_recipe(str(path))).data


def _built(folder: Path) -> "DataConfig":
    """The configuration that a folder was built with. Raises KelpError."""
    from kelp.data.examples.make import DataConfig
    from kelp.data.examples.shards import read_meta
    from kelp.data.record import DataError

    try:
        return DataConfig.model_validate({**read_meta(folder)["config"], "folder": folder})
    except DataError as error:
        raise KelpError(f"{error}: give a recipe, or a folder that kelp data build has made.") from None
    except (ValueError, KeyError):
        raise KelpError(f"{folder}/meta.json is not what this version of Kelp writes: build the data again.") from None


def _print_example(v: "View") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for text, style in _lines(v):
        console.print(Text(text, style))


def _lines(v: "View") -> Iterator[tuple[str, str]]:
    """An example, line by line, with the style of each."""
    from kelp.data.examples.inspect import diff

    yield f"example {v.index}  {v.name}  {v.origin}".rstrip(), "bold"
    if v.dropped is not None:
        yield f"left out: {v.dropped}", "red"
    if not v.start:
        yield "", ""
        return
    yield f"{v.start}{': ' * bool(v.kinds)}{', '.join(v.kinds)}", ""
    yield "\nfrom the clean program to the state", "bold"
    for line in diff(v):
        yield f"  {line}", {"+": "green", "-": "red"}.get(line[0], "")
    yield "\npath back", "bold"
    for number, step in enumerate(v.path, start=1):
        yield f"  {number}  line {step.line}: {_change(step.old, step.new)}", ""
    yield "\ncorrect first edits", "bold"
    for target in v.targets:
        what = f"  {target.op} {target.category}, line {target.line}: {_change(target.old, target.new)}"
        yield what + ("" if target.written or not target.new else "  (site only)"), ""
    if not v.targets:
        yield "  stop", ""
    yield f"\nmodel input: {v.prefix} tokens; output: {v.suffix} tokens", "bold"
    for part in _parts(v):
        yield from ((line, "") for line in textwrap.wrap(part, 116, initial_indent="  ", subsequent_indent="    "))
    yield "\ntests", "bold"
    for test in v.tests:
        yield f"  {test.status:8}{test.name}{'  ' * bool(test.message)}{test.message}", STYLES.get(test.status, "")
    if not v.tests:
        yield "  none", ""
    yield "", ""


def _change(old: str, new: str) -> str:
    shown, written = (_visible(text) if not text.strip() else text.strip().replace("\n", "⏎") for text in (old, new))
    return f"{shown}  ->  {written}" if old and new else f"insert {written}" if new else f"delete {shown}"


def _visible(space: str) -> str:
    return space.replace("\n", "⏎").replace(" ", "␣")


def _parts(v: "View") -> list[str]:
    """The tokens of each part of the prefix: with spaces between them, their own space made visible."""
    parts: list[list[str]] = []
    for before, token, after in zip((None, *v.sees), v.sees, (*v.sees[1:], None)):
        text = token.text if token.special else _visible(token.text)
        if token.mark == "site" and (before is None or before.mark != "site"):
            text = f"«{text}"
        if token.mark == "site" and (after is None or after.mark != "site"):
            text = f"{text}»"
        if token.mark == "insert":
            text = f"‸ {text}"
        if token.special and token.text in PARTS:
            parts.append([])
        parts[-1].append(text)
    return [" ".join(part) for part in parts]
