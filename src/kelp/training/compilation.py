"""Compiled programs, kept from run to run."""

import os
import warnings

import jax

from kelp.files import cache_folder


def use_compilation_cache() -> None:
    """Cache what JAX compiles in the user's cache folder, unless JAX has another; go without a cache if that fails."""
    warnings.filterwarnings("ignore", message=".*persistent compilation cache")  # a full disk only costs time
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = cache_folder("jax")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
