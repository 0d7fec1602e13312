"""`execution/worker/` holds all that runs beside hostile code, and imports the standard library and pytest alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kelp

WORKER = Path(kelp.__file__).parent / "execution" / "worker"
FILES = sorted(WORKER.rglob("*.py"))
PLUGIN = {"kelp_lines", "kelp_needs", "kelp_failures", "kelp_report"}  # by name, in the project's own interpreter
PYTEST = {"pytest", "_pytest", "pluggy"}
OF_PYTEST = {"py", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli"}
NEED_PYTEST = {"quick_start", "test_sources", "pytest_run", "kelp_report"}
MAY_IMPORT_PYTEST = NEED_PYTEST | {"command_run"}  # which does so where a command is pytest
OLDEST = (3, 9)
MODULES = [
    ".".join(["kelp.execution.worker", *path.relative_to(WORKER).with_suffix("").parts])
    for path in FILES
    if path.stem != "__init__"
]
IMPORT_ALL = f"""
import importlib, sys, sysconfig
sysconfig.get_config_vars()  # imports a module that is named after the platform
sys.path.append({str(WORKER / "plugin")!r})
outside = {{*sys.stdlib_module_names, *{sorted(PYTEST | OF_PYTEST | PLUGIN)}, "__main__"}}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        inside = name in ("kelp", "kelp.execution") or (name + ".").startswith("kelp.execution.worker.")
        if not inside and name.partition(".")[0] not in outside:
            raise ImportError(name + " is not on the worker's side")
sys.meta_path.insert(0, Blocker())
for name in {MODULES!r}:
    importlib.import_module(name)
assert {{name for name in sys.modules if name.startswith("kelp.") and "worker" not in name}} == {{"kelp.execution"}}
"""


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_worker_imports_the_standard_library_pytest_and_the_worker_alone(path: Path) -> None:
    allowed = sys.stdlib_module_names | (PYTEST if path.stem in MAY_IMPORT_PYTEST else set())
    allowed |= PLUGIN if path.parent.name == "plugin" else set()
    others = {name for name in imported(path) if name.partition(".")[0] not in allowed}
    assert {name for name in others if not f"{name}.".startswith("kelp.execution.worker.")} == set()


def test_the_worker_can_be_imported_where_there_is_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_worker_is_written_in_the_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=OLDEST)


def interpreters() -> list[str]:
    """Other Pythons of this machine that are at least the oldest one."""
    found = []
    for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")):
        version = tuple(map(int, path.parents[1].name.split(".")[:2]))
        if version >= OLDEST:
            found.append(str(path))
    return found


@pytest.mark.parametrize("interpreter", interpreters() or [sys.executable])
def test_the_worker_can_be_imported_in_every_python_of_this_machine(interpreter: str, tmp_path: Path) -> None:
    modules = [name for name in MODULES if name.rpartition(".")[2] not in NEED_PYTEST]
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    home = str(Path(kelp.__file__).parents[1])
    done = subprocess.run(
        [interpreter, "-B", "-c", code], env={"PYTHONPATH": home}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
