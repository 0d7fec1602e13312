"""Settings for every test: Hypothesis never judges by the clock, and CI draws the same examples each time."""

import os
import signal

from hypothesis import settings

settings.register_profile("kelp", deadline=None)
settings.register_profile("kelp-ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("kelp-ci" if os.environ.get("CI") else "kelp")

# A shell that starts the tests in the background has Ctrl-C ignored, which what they start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
