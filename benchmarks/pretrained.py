"""An imported model against `transformers`, and what its type on disk and its vocabulary cost.

    python benchmarks/pretrained.py logits FOLDER --out logits.npz         # Kelp's, on ten functions
    python benchmarks/pretrained.py compare FOLDER_OR_GGUF logits.npz      # those of transformers: the extra `golden`
    python benchmarks/pretrained.py compare FOLDER logits.npz --tokenizer  # its tokens too
    python benchmarks/pretrained.py loss FOLDER [FOLDER ...]               # bits per byte, seconds to load, memory

The first and the second may run in environments of their own.
"""

import argparse
import calendar
import configparser
import copy
import csv
import difflib
import fnmatch
import inspect
import json
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import numpy as np

TOKENS = 192  # of a text whose logits are compared
ROW = 512  # tokens of a text whose loss is measured


def texts() -> list[str]:
    """Functions of the standard library, with their docstrings; they belong to no training set of Kelp."""
    functions = [
        statistics.median, statistics.mode, shutil.rmtree, shutil.copytree, fnmatch.filter, random.Random.choices,
        csv.Sniffer.sniff, calendar.monthrange, difflib.get_close_matches, copy.deepcopy, textwrap.indent,
        statistics.quantiles, shutil.which, zipfile.ZipFile.extractall, tarfile.TarFile.next,
        argparse.ArgumentParser.parse_known_args, configparser.RawConfigParser.get,
    ]  # fmt: skip
    return [textwrap.dedent(inspect.getsource(function)) for function in functions]


def rows(folder: Path, length: int) -> list[list[int]]:
    """Tokens of each text after the token between documents, cut at `length`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    start = json.loads((folder / "config.json").read_text())["eos_token_id"][0]
    return [[start, *tokenizer.encode(text, add_special_tokens=False).ids][:length] for text in texts()]


def logits(folder: Path, out: Path) -> None:
    import jax.numpy as jnp

    from kelp.model import masks
    from kelp.model.pretrained import read_llama

    model = read_llama(folder, dtype="float32")
    found = {}
    for number, row in enumerate(rows(folder, TOKENS)[:10]):
        padded = np.zeros((1, TOKENS), np.int32)
        padded[0, : len(row)] = row
        real = jnp.arange(TOKENS)[None] < len(row)
        states = model(padded, jnp.arange(TOKENS)[None], masks.causal(real))
        found[f"tokens{number}"], found[f"logits{number}"] = np.array(row), model.logits(states)[0, : len(row)]
    np.savez(out, **found)


def compare(path: Path, stored: Path, tokenizer: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if where else path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where).eval()
    ours, differences = np.load(stored), []
    for number in range(10):
        with torch.no_grad():
            theirs = model(torch.from_numpy(ours[f"tokens{number}"])[None]).logits[0].numpy()
        differences.append(np.abs(theirs - ours[f"logits{number}"]).max())
    print(
        f"largest difference of logits on ten texts: {max(differences):.1e} (logits up to {np.abs(theirs).max():.0f})"
    )
    if tokenizer:
        tokens = AutoTokenizer.from_pretrained(folder, **where)
        for number, text in enumerate(texts()[:10]):
            ids = tokens(text, add_special_tokens=False)["input_ids"][: TOKENS - 1]
            assert ids == ours[f"tokens{number}"][1:].tolist(), text
        print("the same tokens")


def loss(folder: Path) -> None:
    """Measure a folder in a process of its own."""
    import jax
    import jax.numpy as jnp

    from kelp.lm.folder import load_lm
    from kelp.model import masks

    jnp.zeros(1).block_until_ready()
    before, start = memory(), time.perf_counter()
    model, _ = load_lm(folder, autoregressive=True)
    jax.block_until_ready(model)
    seconds, held, peak = time.perf_counter() - start, memory() - before, memory("VmHWM") - before

    @jax.jit
    def run(model, tokens, targets):
        mask = masks.causal(jnp.ones(tokens.shape, bool))
        log_probs = jax.nn.log_softmax(model.logits(model(tokens, jnp.arange(ROW)[None], mask)))
        return -jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[0, :, 0]

    nats = count = size = 0
    for row, text in zip(rows(folder, 1 << 20), texts()):
        ids = row[: ROW + 1]
        if len(row) > ROW + 1:
            continue  # the same texts whatever the vocabulary is, or nearly
        padded = np.zeros((1, ROW + 1), np.int32)
        padded[0, : len(ids)] = ids
        nats += float(run(model, padded[:, :-1], padded[:, 1:])[: len(ids) - 1].sum())
        count, size = count + len(ids) - 1, size + len(text.encode())
    disk = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    print(
        f"{folder.name}: {nats / size / np.log(2):.4f} bits a byte, {nats / count:.4f} nats a token, "
        f"{count / size:.4f} tokens a byte on {size:,} bytes; {disk:.0f} MB on disk, loaded in {seconds:.2f} s, "
        f"{held:.0f} MB in memory, {peak:.0f} MB at most"
    )


def memory(key: str = "VmRSS") -> float:
    """Memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("logits")
    command.add_argument("folder", type=Path)
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser("compare")
    command.add_argument("model", type=Path)
    command.add_argument("logits", type=Path)
    command.add_argument("--tokenizer", action="store_true")
    command = commands.add_parser("loss")
    command.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "logits":
        logits(options.folder, options.out)
    elif options.command == "compare":
        compare(options.model, options.logits, options.tokenizer)
    elif len(options.folders) == 1:
        loss(options.folders[0])
    else:
        for folder in options.folders:
            subprocess.run([sys.executable, __file__, "loss", folder], check=True)


if __name__ == "__main__":
    main()
