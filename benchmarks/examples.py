"""How fast training examples are made, and where the time goes: one core, functions of the standard library.

    python benchmarks/examples.py [--examples 3000] [--seed 0]

For functions of up to 512 and of up to 3,000 characters: examples per second (mutate, diff, tokenise, batch
assembly included, no tests run), characters and tokens of an example, and the share of each part.
"""

import argparse
import random
import time
from collections import defaultdict

from kelp.data.batch import collate
from kelp.data.encoding import Condition, Encoder
from kelp.data.examples import make_example
from kelp.data.record import Record
from kelp.data.sources import stdlib
from kelp.data.tokenizer import Tokenizer
from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import ForwardConfig, corrupt
from kelp.syntax.program import parse

PER_FUNCTION = 8  # examples from one parse, as the data engine does
BATCH = 32


def measure(
    records: list[Record], encoder: Encoder, bank: Bank, count: int, seed: int
) -> tuple[dict[str, float], float, float]:
    """(seconds by part, characters per example, tokens per example)."""
    seconds: dict[str, float] = defaultdict(float)
    rng, config, made, held = random.Random(seed), ForwardConfig(), 0, []
    characters = tokens = 0
    while made < count:
        record = rng.choice(records)
        t = time.perf_counter()
        clean = parse(record.source.rstrip("\n").encode())
        seconds["parse the clean function"] += time.perf_counter() - t
        for _ in range(PER_FUNCTION):
            t = time.perf_counter()
            _, state = corrupt(clean, rng, rng.choices(range(1, 6), (50, 20, 15, 10, 5))[0], config, bank)
            t, seconds["mutate"] = time.perf_counter(), seconds["mutate"] + time.perf_counter() - t
            if state.source == clean.source:
                continue
            example = make_example(encoder, clean, state, Condition(record.intent), rng, 4096)
            seconds["diff and tokenise"] += time.perf_counter() - t
            if example is None:
                continue
            made, characters, tokens = made + 1, characters + len(record.source), tokens + len(example.tokens)
            held.append(example)
            if len(held) == BATCH:
                t = time.perf_counter()
                collate(held, max(len(e.tokens) for e in held), max(len(e.rows) for e in held), 48)
                seconds["assemble batches"] += time.perf_counter() - t
                held = []
    return seconds, characters / made, tokens / made


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--examples", type=int, default=3000)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    records = [found for found in stdlib() if isinstance(found, Record)]
    encoder = Encoder(Tokenizer.train((r.source.encode() for r in records), 4096))
    rng = random.Random(options.seed)
    sample = rng.sample(records, min(2000, len(records)))
    bank = Bank.build(parse(r.source.rstrip("\n").encode()) for r in sample)
    for low, high in ((0, 512), (0, 3000), (512, 3000)):
        chosen = [r for r in records if low < len(r.source) <= high]
        seconds, characters, tokens = measure(chosen, encoder, bank, options.examples, options.seed)
        total = sum(seconds.values())
        print(
            f"functions of {low + 1}-{high} characters: {options.examples / total:,.0f} examples/s on one core "
            f"(n={options.examples}, {characters:.0f} characters and {tokens:.0f} tokens on average)"
        )
        for part, spent in seconds.items():
            print(f"  {part:26} {spent / total:6.1%}  {spent / options.examples * 1e6:7.0f} us")


if __name__ == "__main__":
    main()
