"""Join the pieces that train.py left to a model folder, and check their SHA-256.

python scripts/accelerator/join.py OUT --model models/accelerator
"""

import argparse
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from travel import TravelError, load_pieces

from kelp.encoding.folder import FILES
from kelp.model.config import DenoiserConfig
from kelp.model.folder import save_model
from kelp.model.tensors import ModelError


def join(pieces: Path, model: Path) -> str:
    """Write the model folder and return a line about it. Raises TravelError, ModelError."""
    arrays, about = load_pieces(pieces)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in FILES]
        for file in files:
            file.write_bytes(arrays.pop(f"file {file.name}").tobytes())
        weights = {name: array.view(ml_dtypes.bfloat16).astype(np.float32) for name, array in arrays.items()}
        config = DenoiserConfig.from_dict(about["model"])
        save_model(model, weights, config, files=files, dtype="bfloat16", origin=about["origin"])
    size, origin = sum(array.size for array in weights.values()), about["origin"]
    return f"{model}: {size:,} parameters after {origin['step']:,} steps in {origin['seconds']:,.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pieces", type=Path, help="folder that train.py wrote")
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    args = parser.parse_args()
    try:
        print(join(args.pieces, args.model))
    except (TravelError, ModelError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
