"""Train an edit model for a few minutes on a machine with one GPU, from a folder that pack.py made.

    python scripts/accelerator/train.py runs/carried --out OUT --minutes 8

OUT gets the weights in pieces that join.py joins: every minute, and when the time is nearly up. The machine needs
Python 3.11 and JAX with CUDA; Equinox and Optax are carried, and Kelp is taken from this source tree.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))


def check_machine(packages: Path, *, rehearse: bool) -> None:
    """Import the libraries, carried ones where they are not installed; exit in one sentence where that fails."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is not installed)
        sys.exit(f"Python {sys.version_info[0]}.{sys.version_info[1]} runs here, and Kelp needs 3.11 or newer.")
    sys.path.append(str(packages))  # behind those that are installed
    try:
        import equinox  # noqa: F401
        import jax
        import optax  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error.name or error} cannot be imported here: install JAX with CUDA, Equinox and Optax.")
    found = jax.devices()[0].platform
    if found != "gpu" and not rehearse:
        sys.exit(f"JAX sees no GPU here, only a {found.upper()}: install JAX with CUDA, or give --rehearse.")


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carried", type=Path, help="folder that pack.py made")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pieces of the weights")
    parser.add_argument("--minutes", type=float, default=8.0, help="of this command as a whole")
    parser.add_argument("--rehearse", action="store_true", help="train without a GPU too")
    args = parser.parse_args()
    check_machine(args.carried / "packages", rehearse=args.rehearse)
    from trainer import train

    train(args.carried, args.out, began=began, seconds=60 * args.minutes)


if __name__ == "__main__":
    main()
