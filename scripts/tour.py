"""Make docs/tour.md anew: run its commands in a small project, and take its pictures in Chromium.

    python scripts/tour.py [--no-pictures]

Each block of the page that begins with ```console keeps its commands (`$ ...`) and gets what they print now; each that
begins with ```json tool=NAME ARGUMENTS gets the answer of that MCP tool. Needs the extras dev, mcp and view.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "tour.md"
PICTURES = REPOSITORY / "docs" / "tour"
CHROMIUM = "/usr/bin/chromium"
SHOWN = "~/shop"  # in place of the folder of the project
PATIENCE = 600_000  # milliseconds
COLORS = 64  # of a picture: they are of text
FILES = {
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n',
    "src/shop/cart.py": '''\
from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price: int
    count: int = 1


@dataclass
class Cart:
    items: list[Item] = field(default_factory=list)

    def add(self, name: str, price: int, count: int = 1) -> Item:
        """Add an item, or more of one that is there."""
        for item in self.items:
            if item.name == name:
                item.count = count
                return item
        item = Item(name, price, count)
        self.items.append(item)
        return item

    def total(self) -> int:
        """Return the price of all items in cents."""
        return sum(item.price * item.count for item in self.items)
''',
    "src/shop/money.py": '''\
def shown(cents: int, currency: str = "EUR") -> str:
    """Return 1234 as '12.34 EUR'."""
    sign = "-" if cents < 0 else ""
    cents = abs(cents)
    return f"{cents // 100}.{cents % 100:02} {currency}"
''',
    "tests/test_cart.py": """\
import pytest
from shop.cart import Cart


@pytest.fixture
def cart():
    cart = Cart()
    cart.add("tea", 300)
    cart.add("jam", 250, 2)
    return cart


def test_total(cart):
    assert cart.total() == 800


def test_more_of_the_same(cart):
    assert cart.add("tea", 300, 2).count == 3
    assert cart.add("tea", 300).count == 4
    assert cart.total() == 1700


def test_an_empty_cart():
    assert Cart().total() == 0
""",
    "tests/test_money.py": """\
from shop.money import shown


def test_shown():
    assert shown(1234) == "12.34 EUR"


def test_a_debt_has_a_sign():
    assert shown(-1205) == "-12.05 EUR"
""",
    "patch.py": """\
from pathlib import Path

from kelp.repair import Session

session = Session(Path("src/shop/cart.py"))
for event in session.run():
    pass
[patch, *_] = session.result.patches
print(patch.functions, [(edit.old, edit.new) for edit in patch.edits])
""",
}


def make_project(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", "."], check=True)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTEST_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}


def printed(command: str, folder: Path) -> str:
    """Return what a command prints, messages and output as they come, with the project's folder by its short name."""
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = (line.rstrip() for line in done.stdout.replace(str(folder), SHOWN).strip().splitlines())
    return f"$ {command}\n" + "".join(f"{line}\n" for line in lines)


async def answer(tool: str, arguments: dict[str, Any], folder: Path) -> str:
    """Return the answer of an MCP tool as JSON."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "kelp", "mcp"], cwd=str(folder), env=environment()
    )
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        result = await session.call_tool(tool, arguments)
    return json.dumps(result.structured_content, indent=1).replace(str(folder), SHOWN) + "\n"


def filled(page: str, folder: Path) -> str:
    """Return the page with what its commands and tools give now."""

    def console(match: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", match[1], re.MULTILINE)
        return f"```console\n{''.join(printed(command, folder) for command in commands)}```\n"

    def tool(match: re.Match[str]) -> str:
        given = json.loads(match[2])
        return f"```json tool={match[1]} {match[2]}\n{asyncio.run(answer(match[1], given, folder))}```\n"

    page = re.sub(r"^```console\n(.*?)^```\n", console, page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^```json tool=(\w+) (\{.*?\})\n.*?^```\n", tool, page, flags=re.MULTILINE | re.DOTALL)


def take_pictures(folder: Path) -> None:
    """Take the pictures of `kelp view`: a project, light and wide, dark and narrow, and a function to try."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "kelp", "view", "tests/test_cart.py", "--max-seconds", "3000"]
    server = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    PICTURES.mkdir(exist_ok=True)
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            for scheme in ("light", "dark"):
                page = chromium.new_page(color_scheme=scheme, reduced_motion="reduce")
                page.set_default_timeout(PATIENCE)
                page.goto(address)
                page.locator(".verdict", has_text="Repaired").wait_for()
                for width in (1440, 360):
                    take(page, f"project-{width}-{scheme}", width)
                page.goto(f"{address}?try")
                page.get_by_label("Function").fill("def area(width, height):\n    return width + height\n")
                page.get_by_role("textbox", name="Tests").fill("assert area(2, 3) == 6\nassert area(1, 1) == 1\n")
                take(page, f"try-{360 if scheme == 'dark' else 1440}-{scheme}", 360 if scheme == "dark" else 1440)
                page.close()
            chromium.close()
    finally:
        server.terminate()
        server.wait()


def take(page: Any, name: str, width: int) -> None:
    """Take a picture of what is in sight."""
    page.set_viewport_size({"width": width, "height": 900 if width > 400 else 740})
    page.wait_for_timeout(500)  # milliseconds, for the layout to settle
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLORS).save(path, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-pictures", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve() / "shop"
        make_project(folder)
        PAGE.write_text(filled(PAGE.read_text(), folder))
        if not options.no_pictures:
            take_pictures(folder)


if __name__ == "__main__":
    main()
