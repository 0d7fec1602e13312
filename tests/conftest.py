"""Settings for every test: Hypothesis never judges by the clock, CI draws the same examples each time, and all tests
and the processes that they start share one JAX compilation cache.
"""

import os
import signal
import tempfile

from hypothesis import settings

JAX_CACHE = tempfile.TemporaryDirectory(prefix="kelp-jax-")  # gone when the session ends
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", JAX_CACHE.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

settings.register_profile("kelp", deadline=None)
settings.register_profile("kelp-ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("kelp-ci" if os.environ.get("CI") else "kelp")

# A shell that starts the tests in the background has Ctrl-C ignored, which what they start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
