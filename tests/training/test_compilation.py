"""What is compiled is kept between runs of Kelp."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from kelp.training.compilation import use_compilation_cache
use_compilation_cache()
import jax
jax.jit(lambda x: x * 3 + 1)(2.0)
"""


def compiled(environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True)


@pytest.mark.slow
def test_compiled_programs_are_kept_in_the_users_cache_folder(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    compiled(plain | {"XDG_CACHE_HOME": str(tmp_path)})
    assert any((tmp_path / "kelp/jax").iterdir())


@pytest.mark.slow
def test_compiled_programs_are_kept_where_jax_has_been_told(tmp_path: Path) -> None:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "told"),
    }
    compiled(environment)
    assert any((tmp_path / "told").iterdir()) and not (tmp_path / "home").exists()
