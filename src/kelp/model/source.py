"""A model to import: its configuration, the makers of its tensors, and its tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Tensor(NamedTuple):
    """Name of a type, shape, and a function that reads the values."""

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Source:
    """A Llama under Hugging Face's names, of which nothing is read yet but the header."""

    path: Path
    keys: dict[str, Any]  # of config.json
    tensors: dict[str, Tensor]
    files: dict[str, str]  # content of tokenizer.json and its companions
    origin: dict[str, Any]  # name, license, ...
