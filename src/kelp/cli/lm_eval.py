"""`kelp lm eval`: a language model's likelihood of texts, and its fills of held-out functions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from kelp.cli import options
from kelp.cli.lm_generate import Accept
from kelp.cli.lm_model import Block, Loaded, Model, one_sentence
from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.lm.infill import Fill, Hole, Kind, Score
    from kelp.lm.sampler import SampleConfig

KINDS = ("line", "expression", "body")
DOCUMENTS_A_TASK = 20  # drawn for --infill at most, so that a large corpus is not parsed whole


def evaluate(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="GLOB of text files, each a document; files:GLOB of Parquet or JSON lines, hf:NAME[/CONFIG], or "
            "corpus:FOLDER, of which the held-out part is read.",
        ),
    ],
    split: Annotated[str, typer.Option(metavar="NAME", help="Split of an hf: source.")] = "train",
    documents: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Documents to draw at most; if left out all, or 20 a task.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=2, metavar="N", help="Monte Carlo samples of the bound of each document.")
    ] = 8,
    infill: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Fill a hole in functions: line, expression or body; repeatable, or a,b."),
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, metavar="N", help="Holes of each kind, in as many functions.")] = 500,
    hole_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Most tokens of a hole.")] = 64,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Model that fills from left to right; the same one if left out."),
    ] = None,
    pass_at: Annotated[
        str | None,
        typer.Option(
            metavar="K,...", help="Write programs of a corpus's held-out specifications and run their asserts: 1,8."
        ),
    ] = None,
    programs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Programs of each task; the largest K if left out.")
    ] = None,
    program_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Most tokens of a body.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, metavar="T", help="For --pass-at; 0 is greedy.")] = 0.8,
    top_p: Annotated[float, typer.Option(metavar="P", help="For --pass-at.")] = 0.95,
    accept: Annotated[Accept, typer.Option(help="Number of tokens accepted in a pass.")] = Accept.top_k,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Passes a block; one a token if left out.")
    ] = None,
    block: Block = None,
    length: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tokens of a window: longer texts are cut.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write each hole with its fills there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of masks, documents and holes.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model on texts: bits per byte or, with --infill, fills of holes; with --pass-at, programs that run.

    Bits per byte are an upper bound with its 95 % interval, exact for blocks of one token; those of gzip and xz stand
    beside them. A fill counts as exact where it is the text that stood in the hole, up to white space at its end. It
    is as long, in tokens, as that text. Programs are written from signature and docstring, and run in the sandbox;
    pass@k is the unbiased estimate.

    \b
    Examples:
      kelp lm eval my-lm --data "held-out/*.py"
      kelp lm eval my-lm --data corpus:runs/corpus --documents 500 --json
      kelp lm eval my-lm --data corpus:runs/corpus --infill line,expression,body --tasks 500
      kelp lm eval my-lm --data corpus:runs/corpus --infill line --baseline my-ar-lm --block 0 --accept threshold
      kelp lm eval my-lm --data corpus:runs/corpus --pass-at 1,8 --tasks 100
    """
    if pass_at is not None:
        if infill:
            raise KelpError("Give either --infill or --pass-at.")
        from kelp.cli.lm_pass import measure_passes, print_passes

        with one_sentence():
            passes = measure_passes(
                Loaded(model, length, True, autoregressive=True), data, _numbers(pass_at), programs, tasks=tasks,
                tokens=program_tokens, seed=seed, block=block, steps=steps, accept=accept.value,
                temperature=temperature, top_p=top_p,
            )  # fmt: skip
        _print(passes | {"model": str(model), "data": data, "seed": seed}, print_passes, as_json)
        return
    from kelp.cli.lm_texts import read_texts

    kinds: list[Any] = [kind for given in infill or () for kind in given.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise KelpError(f"--infill {kind} is none of {', '.join(KINDS)}")
    documents = DOCUMENTS_A_TASK * tasks if kinds and documents is None else documents
    texts = read_texts(data, split=split, documents=documents, seed=seed)
    loaded = Loaded(model, length, bool(kinds), autoregressive=bool(kinds))
    if kinds:
        from kelp.lm.sampler import SampleConfig

        how = SampleConfig(block=block, steps=steps, accept=accept.value, seed=seed)
        other = None if baseline is None else Loaded(baseline, length, True, autoregressive=True)
        figures = _infill(loaded, other, texts, kinds, how, tasks=tasks, most=hole_tokens, out=out)
    else:
        figures = _bits(loaded, texts, block=block, samples=samples, seed=seed)
    _print(figures | {"data": data, "seed": seed}, _print_infill if kinds else _print_bits, as_json)


def _print(figures: dict[str, Any], show: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps(figures))
    else:
        show(figures)


def _numbers(text: str) -> list[int]:
    """The numbers of --pass-at. Raises KelpError."""
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(numbers) != len(text.split(",")) or min(numbers) < 1:
        raise KelpError(f"--pass-at {text} is no list of numbers such as 1,8")
    return numbers


def _bits(loaded: Loaded, texts: list[str], *, block: int | None, samples: int, seed: int) -> dict[str, Any]:
    from dataclasses import replace

    with one_sentence():
        from kelp.lm.compression import compressed_bits_per_byte
        from kelp.lm.likelihood import text_likelihood

        cfg = loaded.cfg if block is None else replace(loaded.cfg, block=block)
        result = text_likelihood(
            loaded.model, cfg, texts, loaded.tokenizer.encode, length=loaded.window, samples=samples, seed=seed
        )
    bits, spread = result.bits_per_byte, result.over_documents
    return {
        "bits_per_byte": bits.mean,
        "exact": cfg.block == 1,
        "interval": [bits.low, bits.high],
        "interval_over_documents": [spread.low, spread.high] if len(texts) > 1 else None,
        "compressed": compressed_bits_per_byte(texts),
        "documents": len(texts),
        "bytes": int(result.sizes.sum()),
        "block": cfg.block,
        "samples": samples,
        "length": loaded.window,
    }


def _print_bits(figures: dict[str, Any]) -> None:
    kind = "exact" if figures["exact"] else "upper bound"
    low, high = figures["interval"]
    bits = f"{figures['bits_per_byte']:.4f} [{low:.4f}, {high:.4f}]"
    print(f"{bits} bits per byte ({kind}), {figures['documents']} documents, {figures['bytes']:,} bytes")
    if figures["interval_over_documents"]:
        low, high = figures["interval_over_documents"]
        print(f"{figures['bits_per_byte']:.4f} [{low:.4f}, {high:.4f}] as a sample of such documents")
    for name, by in figures["compressed"].items():
        print(f"{by['each']:.4f} {name}, each document by itself; {by['all']:.4f} all in one")


def _infill(
    ours: Loaded,
    other: Loaded | None,
    texts: list[str],
    kinds: "list[Kind]",
    how: "SampleConfig",
    *,
    tasks: int,
    most: int,
    out: Path | None,
) -> dict[str, Any]:
    """Fill holes of each kind by the model and, from left to right, by the baseline: the other model, or the same."""
    from dataclasses import replace
    from itertools import islice

    from kelp.cli.progress import progress_bar
    from kelp.lm.infill import draw_tasks, fitting, functions_of

    functions = [function for text in texts for function in functions_of(text)]
    block = ours.cfg.block if how.block is None else how.block
    models = {"model": (ours, how)}
    if other is not None or (block != 1 and ours.cfg.shift):
        models["baseline"] = (other or ours, replace(how, block=1))
    window = min(each.window for each, _ in models.values())
    by_kind: dict[str, Any] = {}
    lines: list[dict[str, Any]] = []
    with progress_bar() as bar, one_sentence():
        for kind in kinds:
            drawn = draw_tasks(functions, kind, how.seed)
            fit = fitting(drawn, [each.tokenizer for each, _ in models.values()], window=window, most=most)
            if not (holes := list(islice(fit, tasks))):
                raise KelpError(f"--data has no function with a hole of at most {most} tokens for --infill {kind}")
            by_kind[kind] = {"n": len(holes)}
            lines += (told := [_line(each[0]) for each in holes])
            exact = []
            for (name, (each, rules)), own in zip(models.items(), zip(*holes)):
                things = f"{kind}, {name}"
                run = _fill(each, rules, own, window, lambda done, t=things, n=len(own): bar(t, done, n))  # type: ignore[misc]
                by_kind[kind][name] = run.figures
                exact.append([score.exact for score in run.scores])
                for line, fill, score in zip(told, run.fills, run.scores):
                    line[name] = {"fill": fill.text.decode("utf-8", "replace"), **score._asdict()}
            if len(exact) == 2:
                by_kind[kind]["paired"] = _paired(*exact)
    if out is not None:
        _write_lines(out, lines)
    return {
        "infill": by_kind,
        "functions": len(functions),
        **{name: str(each.folder) for name, (each, _) in models.items()},
        "block": block,
        "accept": how.accept,
        "steps": how.steps,
        "window": window,
        "hole_tokens": most,
    }


class Run(NamedTuple):
    """One model's fills of the holes of a kind."""

    fills: "list[Fill]"
    scores: "list[Score]"
    figures: dict[str, Any]


def _fill(
    loaded: Loaded, how: "SampleConfig", holes: "Sequence[Hole]", window: int, progress: Callable[[int], None]
) -> Run:
    import time

    from kelp.lm.infill import fill, score
    from kelp.lm.likelihood import Interval

    began = time.perf_counter()
    fills = fill(loaded.model, loaded.cfg, loaded.tokenizer, holes, window=window, how=how, progress=progress)
    seconds = time.perf_counter() - began
    scores = [score(hole, each.text, loaded.tokenizer) for hole, each in zip(holes, fills)]
    tokens, passes = sum(map(len, holes)), sum(each.passes for each in fills)
    figures = {
        "exact": Interval.of_share(sum(each.exact for each in scores), len(holes))._asdict(),
        "parses": Interval.of_share(sum(each.parses for each in scores), len(holes))._asdict(),
        "tokens": tokens / len(holes),
        "passes": passes / len(holes),
        "tokens_per_pass": tokens / max(passes, 1),
        "seconds": round(seconds, 2),  # compilation included
    }
    return Run(fills, scores, figures)


def _paired(ours: list[bool], theirs: list[bool]) -> dict[str, Any]:
    """Holes that one model alone fills exactly, and McNemar's p-value of the difference."""
    from kelp.evaluation.metrics import mcnemar

    only_ours, only_theirs = (sum(a and not b for a, b in zip(*pair)) for pair in ((ours, theirs), (theirs, ours)))
    return {"only_model": only_ours, "only_baseline": only_theirs, "p": mcnemar(only_ours, only_theirs)}


def _line(hole: "Hole") -> dict[str, Any]:
    task = hole.task
    text = {"text": task.text.decode(), "hole": task.text[task.start : task.end].decode()}
    return {"kind": task.kind, **text, "start": task.start, "end": task.end, "tokens": len(hole)}


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    import json

    from kelp.files import write

    write(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _print_infill(figures: dict[str, Any]) -> None:
    from kelp.cli.tables import print_table

    def share(interval: dict[str, float]) -> str:
        return f"{interval['mean']:.1%} [{interval['low']:.1%}, {interval['high']:.1%}]"

    head = ["kind", "n", "by", "exact", "parses", "tokens", "passes", "seconds"]
    rows = []
    for kind, by in figures["infill"].items():
        for name in ("model", "baseline"):
            if found := by.get(name):
                shares = share(found["exact"]), share(found["parses"])
                numbers = f"{found['tokens']:.1f}", f"{found['passes']:.1f}", f"{found['seconds']:.1f}"
                rows.append([kind, str(by["n"]), name, *shares, *numbers])
    print_table(head, rows, section=1 + ("baseline" in figures), names=3)
    for name in ("model", "baseline"):
        if name in figures:
            order = "left to right" if name == "baseline" or figures["block"] == 1 else f"blocks of {figures['block']}"
            print(f"{name}: {figures[name]}, {order}")
    for kind, by in figures["infill"].items():
        if pair := by.get("paired"):
            alone = f"{pair['only_model']} by the model alone, {pair['only_baseline']} by the baseline alone"
            print(f"{kind}: exact {alone} (McNemar's p = {pair['p']:.2g})")
