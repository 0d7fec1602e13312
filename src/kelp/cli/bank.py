"""`kelp bank`: build and inspect a subtree bank."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli.progress import progress_bar
from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.extras import install
from kelp.files import check_writable, read, write

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.data.examples.bank_variants import Tried
    from kelp.diffusion.bank import Bank

KINDS = ("equal", "near miss", "renamed", "perturbed")
SHOWN = 72  # characters of a fragment in a table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Build a bank of code fragments, or inspect one.")


@app.command()
def build(
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS", help="Corpus folder, one of its Parquet files, or *.jsonl[.gz].")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Bank to write.")],
    max_per_category: Annotated[int, typer.Option(metavar="N", help="Fragments kept per category.")] = 4000,
    augmented: Annotated[
        int, typer.Option(min=0, metavar="N", help="Most frequent fragments per category that get variants.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of renamed and perturbed variants.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Sandboxes that run variants in parallel.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    allow_weak_sandbox: Annotated[
        bool,
        typer.Option("--allow-weak-sandbox", help="Run even where this machine lacks protections (see kelp doctor)."),
    ] = False,
) -> None:
    """Count the fragments of a corpus and make variants.

    Equal variants and near misses are compared with their fragment on random values. The table shows how often each
    rule was used and confirmed.

    \b
    Examples:
      kelp bank build corpus --out bank.json.gz
      kelp bank build records.jsonl.gz --out bank.json.gz --augmented 200 --json
      kelp bank build corpus --out plain.json.gz --augmented 0
    """
    from kelp.data.examples.bank_variants import BankConfig, sources
    from kelp.data.examples.bank_variants import build as run
    from kelp.execution import WeakSandbox

    check_writable(out)
    if not corpus.is_dir():
        read(corpus)
    try:
        config = BankConfig(max_per_category=max_per_category, augmented=augmented, seed=seed)
    except ValueError as error:
        raise KelpError(f"{error}.") from None
    found = list(sources(corpus))
    try:
        with progress_bar() as progress:
            bank, tried = run(found, config, jobs=jobs, allow_weak=allow_weak_sandbox, progress=progress)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "egglog":
            raise
        lacking = f"Variants need egglog, which is not installed: {install('data')}, or --augmented 0."
        raise KelpError(lacking) from None
    except WeakSandbox as weak:
        raise KelpError(f"{weak}: --allow-weak-sandbox runs it all the same.", status="weak sandbox") from None
    write(out, bank.dumps())
    if as_json:
        print(json.dumps({"categories": figures(bank), "rules": rules(tried)}, indent=1))
        return
    head = ["category", "fragments", "templates", "seen", *KINDS]
    print_table(head, [[category, *map(str, row.values())] for category, row in figures(bank).items()])
    if tried:
        print()
        lines = [[rule, *map(str, row.values())] for rule, row in rules(tried).items()]
        print_table(["rule", "kind", "same", "different", "undecided"], lines)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="BANK", help="Bank, *.json.gz.")],
    category: Annotated[str | None, typer.Option(metavar="NAME", help="Category to show (default: all).")] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show fragments that contain TEXT, themselves or in a variant.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Fragments shown per category.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the fragments as JSON.")] = False,
) -> None:
    """Show the fragments of a bank and their variants.

    They are listed by category, the most frequent first. A template has $1, $2 ... for its variables; the column "rule"
    names the rule that made a variant.

    \b
    Examples:
      kelp bank inspect bank.json.gz
      kelp bank inspect bank.json.gz --category condition --grep len --limit 5
      kelp bank inspect bank.json.gz --json
    """
    from kelp.diffusion.bank import Bank

    read(path)
    try:
        bank = Bank.load(path)
    except ValueError as error:
        raise KelpError(f"{error}: kelp bank build writes one.") from None
    if category is not None and category not in bank.shelves:
        raise KelpError(f"{path} has no category {category!r}: there are {', '.join(bank.shelves)}.")
    shown = {c: entries(bank, c, grep, limit) for c in bank.shelves if category in (None, c)}
    if as_json:
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    lines = []
    for name, rows in shown.items():
        for row in rows:
            lines.append([name, str(row["count"]), _short(row["text"]), "template" if row["template"] else ""])
            for variant in row["variants"]:
                lines.append(["", "", "  " + _short(variant["text"]), ", ".join([variant["kind"], *variant["rules"]])])
    print_table(["category", "seen", "fragment", "rule"], lines)


def figures(bank: "Bank") -> dict[str, dict[str, int]]:
    """Counts of a bank by category."""
    found = {}
    for category, shelf in bank.shelves.items():
        made: Counter[str] = Counter(v.kind for variants in shelf.variants.values() for v in variants)
        templates = sum(f.template for f in shelf.fragments)
        found[category] = {
            "fragments": len(shelf.fragments) - templates, "templates": templates, "seen": sum(shelf.counts),
            **{kind.replace(" ", "_"): made[kind] for kind in KINDS},
        }  # fmt: skip
    return found


def rules(tried: "list[Tried]") -> dict[str, dict[str, Any]]:
    """Uses and verdicts of each rule, the most used first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for one in tried:
        for rule in one.variant.rules:
            counts.setdefault((rule, one.variant.kind), Counter())[one.verdict] += 1
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    return {
        rule: {"kind": kind, "same": of["="], "different": of["!"], "unknown": of["?"]} for (rule, kind), of in ranked
    }


def entries(bank: "Bank", category: str, grep: str | None, limit: int) -> list[dict[str, Any]]:
    """Most frequent fragments of a category that contain the text, with their variants."""
    shelf, found = bank.shelves[category], []
    for fragment, count in sorted(zip(shelf.fragments, shelf.counts), key=lambda pair: -pair[1]):
        text = fragment.shape if fragment.template else fragment.text
        made = [
            {"text": v.fragment.text.decode(), "kind": v.kind, "rules": list(v.rules)}
            for v in shelf.variants.get(fragment, ())
        ]
        if grep is None or any(grep in some for some in (text.decode(), *(str(v["text"]) for v in made))):
            found.append({"text": text.decode(), "count": count, "template": fragment.template, "variants": made})
        if len(found) == limit:
            break
    return found


def _short(text: str) -> str:
    text = re.sub(r"\s*\n\s*", " ⏎ ", text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
