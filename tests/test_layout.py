"""The import graph of docs/architecture.md, whose packages are called rooms here: no import points up, no circle."""

import ast
from pathlib import Path

import pytest

import kelp

PACKAGE = Path(kelp.__file__).parent

# From the bottom up: a room may import from the rooms named beside it, all of which stand above it in this table.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "extras": {"errors"},
    "files": {"errors"},
    "bucket": {"errors", "extras", "files"},
    "rows": {"errors", "extras"},
    "syntax": {"errors"},
    "model": set(),
    "execution.worker": set(),
    "execution": {"execution.worker"},
    "languages": {"syntax"},
    "diffusion": {"syntax", "languages"},
    "encoding": {"errors", "files", "syntax"},
    "search": {"errors", "syntax", "model", "execution", "diffusion", "languages", "encoding"},
    "repair": {
        "errors", "files", "syntax", "model", "execution.worker", "execution", "diffusion", "languages", "encoding",
        "search",
    },
    "training": {"bucket", "errors", "extras", "files", "model"},
    "lm": {"bucket", "errors", "files", "rows", "encoding", "model", "training"},
    "data": {
        "bucket", "errors", "extras", "files", "syntax", "model", "execution", "diffusion", "languages", "encoding",
        "search", "training", "lm", "rows",
    },
    "evaluation": {
        "errors", "extras", "files", "syntax", "model", "execution.worker", "execution", "diffusion", "languages",
        "encoding", "search", "repair", "training", "data",
    },
    "web": {"errors", "files", "execution", "repair", "evaluation", "data"},
}  # fmt: skip
FACES = {"cli", "__main__", "mcp_server", "pytest_plugin"}  # may import everything, and nothing imports them


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[1:3] == ["execution", "worker"]:
        return "execution.worker"
    return parts[1] if len(parts) > 1 else "kelp"


def imports() -> list[tuple[str, str, str]]:
    """(file, its room, imported room) of every import of kelp by kelp, lazy ones included."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        here = room_of(".".join(["kelp", *inside.with_suffix("").parts]))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ImportFrom(module="kelp", names=names):
                    modules = [f"kelp.{alias.name}" for alias in names]
                case ast.ImportFrom(module=str(module)) if module.startswith("kelp."):
                    modules = [module]
                case ast.Import(names=names):
                    modules = [alias.name for alias in names if alias.name.startswith("kelp.")]
                case _:
                    continue
            found += [(str(inside), here, room_of(module)) for module in modules]
    return found


def test_every_room_imports_only_from_rooms_below_it() -> None:
    wrong = {
        f"{file} imports {target}"
        for file, here, target in imports()
        if here not in FACES
        and target != here
        and target in ROOMS | dict.fromkeys(FACES)
        and target not in ROOMS.get(here, set())
    }
    assert not wrong


def test_the_table_of_rooms_has_no_circle_and_lists_every_room() -> None:
    order = list(ROOMS)
    assert all(order.index(below) < order.index(room) for room, allowed in ROOMS.items() for below in allowed)
    there = {
        room_of(f"kelp.{path.stem}")
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - FACES - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("room", ["model", "execution"])
@pytest.mark.slow
def test_a_room_at_the_bottom_imports_nothing_else_of_kelp(room: str) -> None:
    assert {target for _, here, target in imports() if here == room} <= {room, f"{room}.worker"}
