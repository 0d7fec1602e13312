"""Settings for every test: one seed, one cache of compiled programs, and no judging by the clock."""

import importlib.util
import mmap
import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kelp", deadline=None)
settings.register_profile("kelp-ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("kelp-ci" if os.environ.get("CI") else "kelp")

# A shell that starts the tests in the background has Ctrl-C ignored, which what they start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, metavar="N", help="Seed of Hypothesis and of the fixture `rng`.")
    parser.addoption("--python", metavar="PYTHON", help="Python of all sandboxes, in place of this one.")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads its option
def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = 0 if os.environ.get("CI") else random.SystemRandom().randrange(2**32)
    if config.option.hypothesis_seed is None and not os.environ.get("CI"):
        config.option.hypothesis_seed = config.option.seed
    if config.option.python is not None:
        from kelp.execution import interpreter, sandbox

        python = interpreter.named(config.option.python)
        setattr(sandbox, "own", lambda: python)  # noqa: B010 (a name of another module)
    # Tests compile more than they compute: unoptimized code, written without MLIR, takes a fifth of the time.
    flags = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]
    os.environ.setdefault("XLA_FLAGS", " ".join(filter(is_known, flags)))
    # Before any test imports JAX: what one test compiles, others and the processes that they start load.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def is_known(flag: str) -> bool:
    """Return whether XLA knows a flag: an unknown one ends the process."""
    library = Path(importlib.util.find_spec("jaxlib").origin).with_name("libjax_common.so")
    name = flag.removeprefix("--").partition("=")[0]
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(name.encode()) >= 0


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (the same again: pytest --seed {config.option.seed})"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of a test, drawn from the run's seed and the test's name."""
    return random.Random(f"{request.config.option.seed} {request.node.nodeid}")
