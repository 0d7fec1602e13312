"""`kelp lm eval --pass-at`: programs of held-out specifications, run in the sandbox."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kelp.cli.lm_model import Loaded
from kelp.errors import KelpError


def measure_passes(
    loaded: Loaded,
    data: str,
    ks: Sequence[int],
    count: int | None,
    *,
    tasks: int,
    tokens: int,
    seed: int,
    **rules: Any,
) -> dict[str, Any]:
    """Write `count` programs for each of so many held-out functions with asserts, and run them. Raises KelpError.

    Functions are left out that have no docstring, that their own asserts refuse, or that do not fit the window.
    """
    from kelp.cli.lm_texts import draw
    from kelp.cli.progress import counter, progress_bar
    from kelp.data.record import load
    from kelp.evaluation.case_runner import shared_sandbox
    from kelp.evaluation.metrics import estimate, pass_at_k
    from kelp.lm.programs import header_of, write_programs
    from kelp.lm.sampler import SampleConfig

    if not data.startswith("corpus:"):
        raise KelpError("--pass-at needs asserts: give --data corpus:FOLDER")
    count = max(ks) if count is None else count
    if count < max(ks):
        raise KelpError(f"--programs {count} is less than {max(ks)}, the largest K of --pass-at")
    how = SampleConfig(seed=seed, **rules)
    records = [r for r in load(Path(data.partition(":")[2])) if r.split == "valid" and r.asserts and not r.before]
    found = [(record, header_of(record.source)) for record in records if record.context is not None]
    room = loaded.window - tokens - 1
    fits = [(r, header) for r, header in found if header and len(loaded.tokenizer.encode(header)) <= room]
    kept = []
    with progress_bar() as bar, shared_sandbox() as sandbox:

        def passes(source: str, record: Any) -> bool:
            return sandbox.run(source.encode(), asserts=record.asserts, setup=record.context).ok

        for record, header in draw(fits, tasks, seed):
            if passes(record.source, record):
                kept.append((record, header))
        if not kept:
            raise KelpError(f"--data {data} holds out no function with a docstring and asserts")
        bar("programs", 0, None)
        headers = [header for _, header in kept]
        written = write_programs(loaded.model, loaded.cfg, loaded.tokenizer, headers, how, count=count, tokens=tokens)
        done, right = counter(bar, "functions", len(kept)), []
        for (record, _), programs in zip(kept, written):
            verdicts = {text: passes(text, record) for text in dict.fromkeys(programs)}
            right.append(sum(verdicts[text] for text in programs))
            done()
    shares = {k: vars(estimate([pass_at_k(count, correct, k) for correct in right], seed)) for k in ks}
    return {
        "pass_at": {str(k): share for k, share in shares.items()},
        "n": len(kept),
        "programs": count,
        "program_tokens": tokens,
        "block": loaded.cfg.block if how.block is None else how.block,
        "temperature": how.temperature,
        "top_p": how.top_p,
    }


def print_passes(figures: dict[str, Any]) -> None:
    for k, share in figures["pass_at"].items():
        print(f"pass@{k} {share['mean']:.1%} [{share['low']:.1%}, {share['high']:.1%}]")
    print(f"{figures['n']} functions, {figures['programs']} programs of each, temperature {figures['temperature']}")
