"""Make the folder to carry to a machine with one GPU: examples of a recipe in compressed shards, and packages.

    python scripts/accelerator/pack.py [RECIPE.toml] --out runs/carried [--megabytes 45] [--no-packages]

The recipe is configs/accelerator.toml, or with --rehearse configs/tiny.toml; its data is made where it is missing.
As many of its examples are packed as the megabytes hold.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from travel import save_examples

from kelp.cli.progress import progress_bar
from kelp.data.examples.build import build
from kelp.data.examples.recipe import Recipe, load_recipe, make_model_config
from kelp.data.examples.shards import Shard, Shards, row_lengths
from kelp.encoding.folder import FILES

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PACKAGES = ("equinox", "optax", "jaxtyping", "wadler-lindig", "absl-py", "typing-extensions")  # of Python alone
PACKAGES_MEGABYTES = 3
EXAMPLES_PER_FILE = 5_000  # each of the feeding processes has some files of its own
PADDING_SHARE = 0.2  # of a batch's tokens: few shapes, since each is a compilation


def pack(recipe: Recipe, out: Path, *, megabytes: float) -> None:
    """Pack the recipe, its encoding and as many examples as `megabytes` hold; exit in a sentence where none fits."""
    if recipe.optimizer.schedule != "cosine" or recipe.optimizer.accumulation > 1 or recipe.optimizer.ema_decay:
        sys.exit("On the clock the schedule is a cosine, without accumulation or ema_decay: change [optimizer].")
    with progress_bar() as progress:
        build(recipe.data, progress=progress)
    shards = Shards(recipe.data.folder)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(shards.folder / name, out / name)
    pack_recipe(recipe, shards, out)
    pack_part(shards.valid, "valid", out, megabytes)
    packed = pack_part(shards.train, "train", out, megabytes)
    if not packed:
        sys.exit(f"{megabytes} megabytes hold no file of {EXAMPLES_PER_FILE:,} examples: give more.")
    print(f"{out}: {packed:,} of {len(shards.train):,} examples, {size(out) / 1e6:.1f} MB")


def pack_part(shard: Shard, part: str, out: Path, megabytes: float) -> int:
    """Write the examples in files until the folder is full; return how many."""
    for start in range(0, len(shard), EXAMPLES_PER_FILE):
        path = out / f"{part}-{start // EXAMPLES_PER_FILE:05d}.xz"
        save_examples(path, [shard[i] for i in range(start, min(start + EXAMPLES_PER_FILE, len(shard)))])
        if size(out) > megabytes * 1e6:
            path.unlink()
            return start
    return len(shard)


def pack_recipe(recipe: Recipe, shards: Shards, out: Path) -> None:
    """Write recipe.json, which training reads with the standard library."""
    lengths = np.concatenate([shards.train.lengths, shards.valid.lengths])
    sites = np.concatenate([shards.train.rows, shards.valid.rows])
    tops = row_lengths(lengths, PADDING_SHARE)
    shape = np.searchsorted(tops, lengths)
    model = make_model_config(recipe, vocab_size=shards.vocab_size, site_kinds=shards.site_kinds)
    optimizer = recipe.optimizer
    content: dict[str, Any] = {
        "model": model.to_dict(),
        "optimizer": asdict(optimizer),
        "schedule": {"warmup": optimizer.warmup, "final": optimizer.final},
        "shapes": [(top, -(-int(sites[shape == i].max()) // 32) * 32) for i, top in enumerate(tops) if any(shape == i)],
        "tokens_per_batch": recipe.training.tokens_per_batch,
        "span_masking": recipe.objective.span_masking,
        "seed": recipe.training.seed,
        "recipe": recipe.model_dump(mode="json"),
    }
    (out / "recipe.json").write_text(json.dumps(content, indent=1))


def pack_packages(out: Path) -> None:
    """Install the versions that are here, without what they depend on: JAX itself is far too large to carry."""
    versions = [f"{name}=={metadata.version(name)}" for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:"]
    subprocess.run([*command, "--target", str(out / "packages"), *versions], check=True)


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?", default=CONFIGS / "accelerator.toml")
    parser.add_argument("--out", type=Path, default=Path("runs/carried"))
    parser.add_argument("--megabytes", type=float, default=45.0, help="of the folder; the source tree has 12 more")
    parser.add_argument("--rehearse", action="store_true", help="pack configs/tiny.toml")
    parser.add_argument("--no-packages", action="store_true", help="where Equinox and Optax are installed there")
    args = parser.parse_args()
    recipe = load_recipe(CONFIGS / "tiny.toml" if args.rehearse else args.recipe)
    pack(recipe, args.out, megabytes=args.megabytes - (0 if args.no_packages else PACKAGES_MEGABYTES))
    if not args.no_packages:
        pack_packages(args.out)


if __name__ == "__main__":
    main()
