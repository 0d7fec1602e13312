"""`kelp repair` and `kelp locate` in a project: its own pytest says what is at fault, in whichever file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp, environment

pytestmark = pytest.mark.slow

MONEY = '''\
def reduced(price, percent):
    """Reduce a price by a percentage."""
    return price * (100 + percent) / 100


def net(price):
    return price / 1.2
'''
CART = '''\
from shop.money import net, reduced


class Cart:
    def __init__(self):
        self.prices = []

    def total(self, percent=0):
        """Sum of the prices, less a discount."""
        return reduced(sum(self.prices), percent)

    def is_free(self, limit):
        return sum(self.prices) > limit
'''
TESTS = """\
import os

import pytest
from shop.money import reduced

def test_total(cart):
    assert cart.total() == 50

def test_reduced(cart):
    assert cart.total(10) == 45

def test_half():
    assert reduced(8, 50) == 4

@pytest.mark.parametrize("limit, free", [(49, True), (50, True), (51, False)])
def test_free(cart, limit, free):
    assert cart.is_free(limit) == free

def test_elsewhere():
    assert os.environ["NO_SUCH_NAME"] == "1"
"""
CONFTEST = """\
import pytest
from shop.cart import Cart

@pytest.fixture
def cart():
    made = Cart()
    made.prices = [20, 30]
    return made
"""
NO_MODEL = ("--model", "none", "--max-seconds", 600)
FIXED = {
    "src/shop/money.py": MONEY.replace("100 + percent", "100 - percent"),
    "src/shop/cart.py": CART.replace("> limit", ">= limit"),
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository with a package in src/, tests in a subfolder, two faults in two files, and a package missing."""
    files = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\naddopts = "-x -q"\n',
        "src/shop/__init__.py": "",
        "src/shop/money.py": MONEY,
        "src/shop/cart.py": CART,
        "tests/conftest.py": CONFTEST,
        "tests/unit/test_shop.py": TESTS,
        "tests/test_web.py": "import surely_not_installed\n\ndef test_web():\n    assert False\n",
        ".gitignore": "scratch/\ncache/\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def changed(folder: Path) -> str:
    command = ["git", "diff", "--name-only"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_two_faults_in_two_files_are_repaired_by_one_patch(kelp: Kelp, shop: Path) -> None:
    ran = kelp("repair", "--json", "--patches", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    found = ran.json
    [patch] = found["patches"]
    assert patch["files"] == FIXED and changed(shop) == ""
    assert set(patch["functions"]) == {"src/shop/money.py::reduced", "src/shop/cart.py::Cart.is_free"}
    assert {(edit["file"], edit["line"]) for edit in patch["edits"]} == {
        ("src/shop/money.py", 3),
        ("src/shop/cart.py", 13),
    }
    assert patch["still_failing"] == [] and len(patch["fixes"]) == 3
    aside = {each["name"]: each["needs"] for each in found["set_aside"]}
    assert aside.pop("tests/unit/test_shop.py::test_elsewhere") is None
    assert "surely_not_installed" in aside.pop("tests/test_web.py") and not aside
    lines = ran.err.splitlines()
    assert lines[0].startswith("8 tests: 3 passed, 3 failed, 2 error (")
    assert lines[1].startswith("Set aside, as no fault of the program: tests/test_web.py needs the package")
    assert lines[2] == "Set aside, as other failures: tests/unit/test_shop.py::test_elsewhere."
    said = lines[-1]
    assert " and src/shop/cart.py::Cart.is_free, tests" in said or " and src/shop/money.py::reduced, tests" in said
    assert "Look closely: it makes 2 edits" in said and f"{found['seconds']:.1f} s)" in said
    subprocess.run(["git", "apply"], cwd=shop, input=patch["diff"].encode(), check=True)
    assert changed(shop).split() == sorted(FIXED)
    assert all((shop / name).read_text() == text for name, text in FIXED.items())


@pytest.mark.parametrize("target", ["tests/unit/test_shop.py::test_half", "src/shop/money.py:3"])
def test_a_target_narrows_the_search_and_the_patch_is_written(kelp: Kelp, shop: Path, target: str) -> None:
    ran = kelp("repair", target, "--write", "--patches", 1, "--max-edits", 1, *NO_MODEL)
    assert (ran.code, ran.out) == (0, b""), ran.err
    assert changed(shop) == "src/shop/money.py\n"
    assert (shop / "src/shop/money.py").read_text() == FIXED["src/shop/money.py"]


def test_a_failing_test_that_no_edit_repairs_does_not_keep_another_from_being_repaired(kelp: Kelp, shop: Path) -> None:
    with (shop / "tests/unit/test_shop.py").open("a") as tests:
        tests.write('\ndef test_never():\n    assert reduced(1, 0) == "free"\n')
    ran = kelp("repair", "tests/unit/test_shop.py", "--json", "--max-runs", 40, "--max-edits", 1, *NO_MODEL)
    assert ran.code == 0, ran.err
    [patch] = ran.json["patches"]
    assert patch["files"] == {"src/shop/money.py": FIXED["src/shop/money.py"]}
    assert "tests/unit/test_shop.py::test_never" in patch["still_failing"]
    assert "test_never" in ran.err.splitlines()[-1]


def test_the_fault_is_located_with_reasons_and_without_jax(shop: Path) -> None:
    script = "import sys\nfrom kelp.cli.main import app\ntry:\n    app(prog_name='kelp')\nfinally:\n    "
    script += "print(sorted({'jax', 'equinox'} & set(sys.modules)), file=sys.stderr)"
    command = [sys.executable, "-c", script, "locate", "tests/unit/test_shop.py::test_half", "--json"]
    done = subprocess.run(command, cwd=shop, capture_output=True, text=True, env=environment(shop))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    first = json.loads(done.stdout)["suspects"][0]
    assert (first["function"], first["file"], first["line"]) == ("reduced", "src/shop/money.py", 1)
    assert first["failing"] == ["tests/unit/test_shop.py::test_half"] and len(first["passing"]) == 1
    assert [line["line"] for line in first["lines"]] == [3]


def test_a_project_whose_tests_pass_has_a_status_of_its_own(kelp_here: Kelp, shop: Path) -> None:
    for name in ("tests/test_web.py", "tests/unit/test_shop.py"):
        (shop / name).write_text("def test_it(): pass\n")
    for command in ("repair", "locate"):
        ran = kelp_here(command, *(NO_MODEL if command == "repair" else ()))
        assert (ran.code, ran.out) == (3, b"")
        assert ran.err.splitlines()[-1].endswith(" pass already (2 of 2).")


def test_settings_of_the_project_are_followed(kelp_here: Kelp, shop: Path) -> None:
    settings = '[tool.kelp]\nexclude = ["src/shop/money.py"]\nmodel = "none"\nmax-runs = 3\n'
    settings += f'test-command = "env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -m pytest tests/unit"\n'
    with (shop / "pyproject.toml").open("a") as file:
        file.write(settings)
    ran = kelp_here("repair", "--json")
    assert ran.code in (0, 1), ran.err
    assert ran.json["model"] == "none" and ran.json["runs"] <= 3
    assert {function["name"].partition("::")[0] for function in ran.json["functions"]} == {"src/shop/cart.py"}
