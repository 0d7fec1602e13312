"""Tokens per second and memory of a training by processes x devices of this machine, and the cost of communication.

    python benchmarks/processes.py [--steps 24] [--repeats 5] [--width 128] [--length 256] [--tokens 4096]

A language model is trained on this clone's own sources by `kelp train`, on one core (1 x 1) and on two: as 1 x 1, whose
products use both, as 1 x 2 and as 2 x 1, where each process has a core of its own. The layouts alternate. `efficiency`
is tokens per second over those of the same repeat on one core, divided by the number of cores: what is lacking to 100 %
is communication, waiting, and what the cores share (memory, clock). Rates are from metrics.jsonl, without the steps up
to the first row logged, in which the program is compiled. Peak memory is that of each process, with start and
compilation. Other work on the machine makes the figures worthless; the spread over the repeats shows it.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
LOG_EVERY = 4
RECIPE = """
[model]
dim = {width}
layers = 4
heads = {heads}
kv_heads = {heads}
mlp_dim = {mlp}

[lm]
block = 32

[data]
sources = ["files:{sources}/**/*.py"]
tokenizer = "tokenizer"
folder = "data"
vocab_size = 2048
length = {length}

[training]
steps = {steps}
tokens_per_batch = {tokens}
log_every = {log_every}
eval_every = 0
checkpoint_every = {steps}
"""


@dataclass(frozen=True)
class Layout:
    name: str
    processes: int
    devices: int  # of each process
    cores: int


LAYOUTS = (
    Layout("1 x 1, one core", 1, 1, 1),
    Layout("1 x 1", 1, 1, 2),
    Layout("1 x 2", 1, 2, 2),
    Layout("2 x 1", 2, 1, 2),
)


@dataclass(frozen=True)
class Figures:
    rate: float  # tokens per second
    seconds: float  # of CPU, of all processes
    memory: list[float]  # peak of each process, GB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 24, "repeats": 5, "width": 128, "length": 256, "tokens": 4096}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("This benchmark needs two cores.")
    if options.steps < 2 * LOG_EVERY:
        sys.exit(f"--steps must be {2 * LOG_EVERY} or more.")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options, cores)
    report(found)


def measure(folder: Path, options: argparse.Namespace, cores: list[int]) -> dict[Layout, list[Figures]]:
    recipe = RECIPE.format(
        width=options.width, heads=options.width // 32, mlp=4 * options.width, length=options.length,
        steps=options.steps, tokens=options.tokens, sources=SOURCES, log_every=LOG_EVERY,
    )  # fmt: skip
    (folder / "recipe.toml").write_text(recipe)
    for command in (["lm", "tokenizer", "train"], ["lm", "data"]):
        subprocess.run([sys.executable, "-m", "kelp", *command, "recipe.toml"], cwd=folder, check=True)
    found: dict[Layout, list[Figures]] = {layout: [] for layout in LAYOUTS}
    for number in range(options.repeats):
        for layout in LAYOUTS:
            figures = run(folder, layout, folder / f"{layout.name} {number}", cores)
            found[layout].append(figures)
            print(f"{layout.name}: {figures.rate:.0f} tokens/s", file=sys.stderr)
    return found


def run(folder: Path, layout: Layout, out: Path, cores: list[int]) -> Figures:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        address = f"localhost:{listener.getsockname()[1]}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={layout.devices}"
    settings = {"XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    share = layout.cores // layout.processes
    pids = []
    for process in range(layout.processes):
        command = [sys.executable, "-m", "kelp", "train", "recipe.toml", "--out", str(out)]
        if layout.processes > 1:
            command += ["--coordinator", address, "--process-id", str(process), "--processes", str(layout.processes)]
        own = cores[process * share : (process + 1) * share]
        pinned = ["taskset", "-c", ",".join(map(str, own)), *command]
        started = subprocess.Popen(pinned, cwd=folder, env=os.environ | settings, stdout=subprocess.DEVNULL)
        pids.append(started.pid)
    seconds, memory = 0.0, []
    try:
        while pids:
            pid, status, usage = os.wait4(pids[0], 0)
            pids.remove(pid)
            if status:
                sys.exit(f"{layout.name}: a process ended with the status {os.waitstatus_to_exitcode(status)}.")
            seconds += usage.ru_utime + usage.ru_stime
            memory.append(usage.ru_maxrss / 1e6)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first, *_, last = (row for row in rows if row["kind"] == "train")
    return Figures((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]), seconds, memory)


def report(found: dict[Layout, list[Figures]]) -> None:
    alone = found[LAYOUTS[0]]
    print("| processes x devices | tokens/s | efficiency | CPU s in all | peak GB of a process |")
    print("|---|---|---|---|---|")
    for layout, repeats in found.items():
        efficiency = [figures.rate / one.rate / layout.cores for figures, one in zip(repeats, alone)]
        rate, seconds = (statistics.median(values) for values in zip(*((f.rate, f.seconds) for f in repeats)))
        peak = max(size for figures in repeats for size in figures.memory)
        spread = f"{statistics.median(efficiency):.0%} ({min(efficiency):.0%} to {max(efficiency):.0%})"
        print(f"| {layout.name} | {rate:.0f} | {spread} | {seconds:.0f} | {peak:.2f} |")


if __name__ == "__main__":
    main()
