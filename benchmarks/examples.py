"""How fast training examples are made on one core, without and with runs of their tests.

    python benchmarks/examples.py FOLDER [--examples 2000] [--tested 300] [--seed 0]

FOLDER is one that `kelp data build` has made. For functions of up to 512 characters, and for all: examples a second
with no test run (draw, mutate, diff, tokenize, pack), and with every example from a function that has tests, which are
run on what came out. A CPU second is one of this process or of a sandboxed one, whatever else the machine does.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kelp.data.examples.make import DataConfig, ExampleMaker, NoExample
from kelp.data.examples.shards import pack
from kelp.data.record import LANGUAGE, Record, load, split
from kelp.diffusion.bank import Bank
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding

WARM = 200  # examples made before the clock starts: pieces are tokenized once


def measure(records: Sequence[Record], encoder: Encoder, bank: Bank, config: DataConfig, count: int, seed: int) -> str:
    """A line of figures."""
    began = os.times()
    maker = ExampleMaker(records, encoder, bank, config, seed)
    spent: Counter[str] = Counter()
    made = tokens = 0
    for index in range(-WARM, count):
        if index == 0:
            spent, made, tokens, wall, own = Counter(), 0, 0, time.perf_counter(), time.process_time()
        try:
            at = time.perf_counter()
            draw = maker.draw(count + index if index < 0 else index)
            at, spent["draw"] = time.perf_counter(), spent["draw"] + time.perf_counter() - at
            example = maker.encode(draw)
        except NoExample:
            continue
        pack(example)
        spent["encode"] += time.perf_counter() - at
        made, tokens = made + 1, tokens + len(example.tokens)
    wall, own = time.perf_counter() - wall, time.process_time() - own
    maker.close()
    ended = os.times()
    # The sandbox tells what it took when it ends; the warm-up's share is that of its examples.
    others = (ended[2] + ended[3] - began[2] - began[3]) * count / (count + WARM)
    draw, encode = (spent[part] / made * 1e6 for part in ("draw", "encode"))
    speed = f"{made / (own + others):6,.0f} a CPU second {made / wall:6,.0f} a second"
    return f"{speed}   drawing {draw:6,.0f} us, diff and encoding {encode:5,.0f} us; {tokens / made:.0f} tokens"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--tested", type=int, default=300, help="examples with tests run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records, _ = split(load(options.folder / "records.parquet"))
    encoder = load_encoding(options.folder, LANGUAGE)
    bank = Bank.load(options.folder / "bank.json.gz")
    plain = DataConfig(folder=options.folder, sources=(), examples=10**9, observation=0.0)
    tested = plain.model_copy(update={"observation": 1.0, "with_spec": 1.0})
    for longest in (512, 10**9):
        chosen = [r for r in records if len(r.source) <= longest]
        of = f"functions of up to {longest} characters" if longest < 10**9 else "all functions"
        size = sum(len(r.source) for r in chosen) / len(chosen)
        print(f"{of} ({len(chosen):,}, {size:.0f} characters on average)")
        print("  no tests run   " + measure(chosen, encoder, bank, plain, options.examples, options.seed))
        print("  tests run      " + measure(chosen, encoder, bank, tested, options.tested, options.seed))


if __name__ == "__main__":
    main()
