"""Start the server in any Python, as a script: `PYTHON start.py FD FOLDER`.

The worker becomes importable by its own name, and nothing else that is installed beside Kelp: a program sees the
packages of its interpreter alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys


def main() -> None:
    del sys.path[0]  # the folder of this script
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    file = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location("kelp", file, submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    sys.modules["kelp"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["kelp"])
    importlib.import_module("kelp.execution.worker.isolate").main()


if __name__ == "__main__":
    main()
