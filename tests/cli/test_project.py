"""`kelp repair` and `kelp locate` in a project: its own pytest says what is at fault, in whichever file."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp, environment
from tests.environments import OWN, Environments

from kelp.cli.output import sentence
from kelp.encoding.condition import Condition
from kelp.repair import Budget, Project, Session, TestsSetAside, Trajectory, find_python
from kelp.search.policy import MODEL, Policy, Proposal
from kelp.search.swaps import swaps
from kelp.syntax.program import Program
from kelp.web.trace import render_trace

Python = tuple[str, str]

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


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The option of a Python that has pytest and none of the plugins beside Kelp's own."""
    return "--python", str(Environments(tmp_path_factory.mktemp("environments")).with_pytest(OWN))


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


class Operators(Policy):
    """Proposes the other operator for `+` and `>`, and nothing else."""

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        for edit in swaps(program, condition.suspicion):
            if (program.source[edit.start : edit.end], edit.text) in {(b"+", b"*"), (b"+", b"-"), (b">", b">=")}:
                yield Proposal(edit, -1.0, MODEL)


def test_two_faults_in_two_files_are_repaired_by_one_patch(python: Python, shop: Path) -> None:
    project = Project(shop, (f"{python[1]}/bin/python", "-m", "pytest"))
    interpreter = find_python(shop / "-", python[1])
    session = Session(project, budget=Budget(seconds=600, patches=1), model=Operators(), python=interpreter)
    events = list(session.run())
    [aside] = [event for event in events if isinstance(event, TestsSetAside)]
    assert list(aside.others) == ["tests/unit/test_shop.py::test_elsewhere"]
    assert "surely_not_installed" in aside.needs["tests/test_web.py"]
    result = session.result
    assert result is not None
    [patch] = result.patches
    assert {str(path.relative_to(shop)): text.decode() for path, text in patch.files.items()} == FIXED
    assert set(patch.functions) == {"src/shop/money.py::reduced", "src/shop/cart.py::Cart.is_free"}
    assert len(result.fixed(patch)) == 3 and changed(shop) == ""
    said = sentence(result)
    assert " and src/shop/cart.py::Cart.is_free, tests" in said or " and src/shop/money.py::reduced, tests" in said
    assert "Look closely: it makes 2 edits" in said
    subprocess.run(["git", "apply"], cwd=shop, input=patch.diff.encode(), check=True)
    assert changed(shop).split() == sorted(FIXED)
    assert all((shop / name).read_text() == text for name, text in FIXED.items())
    assert Trajectory.loads(result.trajectory.dumps()) == result.trajectory
    assert "Cart.is_free" in render_trace(result.trajectory)


def test_json_has_files_lines_and_what_was_set_aside(kelp: Kelp, python: Python, shop: Path) -> None:
    (shop / "src/shop/cart.py").write_text(FIXED["src/shop/cart.py"])
    ran = kelp("repair", "--json", "--patches", 1, "--max-edits", 1, *python, *NO_MODEL)
    assert ran.code == 0, ran.err
    found = ran.json
    [patch] = found["patches"]
    assert patch["files"] == {"src/shop/money.py": FIXED["src/shop/money.py"]}
    [edit] = patch["edits"]
    assert (edit["file"], edit["line"], edit["old"], edit["new"]) == ("src/shop/money.py", 3, "+", "-")
    assert patch["still_failing"] == [] and len(patch["fixes"]) == 2
    aside = {each["name"]: each["needs"] for each in found["set_aside"]}
    assert aside.pop("tests/unit/test_shop.py::test_elsewhere") is None
    assert "surely_not_installed" in aside.pop("tests/test_web.py") and not aside
    lines = ran.err.splitlines()[1:]  # after the Python
    assert lines[0].startswith("8 tests: 4 passed, 2 failed, 2 error (")
    assert lines[1].startswith("Set aside, as no fault of the program: tests/test_web.py needs the package")
    assert lines[2].startswith("Set aside, as other failures: tests/unit/test_shop.py::test_elsewhere (KeyError: ")
    assert (
        lines[3].startswith("Repaired: src/shop/money.py::reduced, tests") and f"{found['seconds']:.1f} s)" in lines[3]
    )


@pytest.mark.parametrize("target", ["tests/unit/test_shop.py::test_half", "src/shop/money.py:3"])
def test_a_target_narrows_the_search_and_the_patch_is_written(
    kelp: Kelp, python: Python, shop: Path, target: str
) -> None:
    ran = kelp("repair", target, "--write", "--patches", 1, "--max-edits", 1, *python, *NO_MODEL)
    assert (ran.code, ran.out) == (0, b""), ran.err
    assert changed(shop) == "src/shop/money.py\n"
    assert (shop / "src/shop/money.py").read_text() == FIXED["src/shop/money.py"]


def test_a_failure_that_no_edit_repairs_keeps_no_other_from_being_repaired(
    kelp: Kelp, python: Python, shop: Path
) -> None:
    with (shop / "tests/unit/test_shop.py").open("a") as tests:
        tests.write('\ndef test_never():\n    assert reduced(1, 0) == "free"\n')
    ran = kelp("repair", "src/shop/money.py:3", "--json", "--max-runs", 20, "--max-edits", 1, *python, *NO_MODEL)
    assert ran.code == 0, ran.err
    [patch] = ran.json["patches"]
    assert patch["files"] == {"src/shop/money.py": FIXED["src/shop/money.py"]}
    assert "tests/unit/test_shop.py::test_never" in patch["still_failing"]
    assert "test_never" in ran.err.splitlines()[-1]


def test_the_fault_is_located_with_reasons_and_without_jax(python: Python, shop: Path) -> None:
    script = "import sys\nfrom kelp.cli.main import app\ntry:\n    app(prog_name='kelp')\nfinally:\n    "
    script += "print(sorted({'jax', 'equinox'} & set(sys.modules)), file=sys.stderr)"
    command = [sys.executable, "-c", script, "locate", "tests/unit/test_shop.py::test_half", "--json", *python]
    done = subprocess.run(command, cwd=shop, capture_output=True, text=True, env=environment(shop))
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    first = json.loads(done.stdout)["suspects"][0]
    assert (first["function"], first["file"], first["line"]) == ("reduced", "src/shop/money.py", 1)
    assert first["failing"] == ["tests/unit/test_shop.py::test_half"] and len(first["passing"]) == 1
    assert [line["line"] for line in first["lines"]] == [3]


def test_a_project_whose_tests_pass_has_a_status_of_its_own(kelp_here: Kelp, python: Python, shop: Path) -> None:
    for name in ("tests/test_web.py", "tests/unit/test_shop.py"):
        (shop / name).write_text("def test_it(): pass\n")
    for command in ("repair", "locate"):
        ran = kelp_here(command, *python, *(NO_MODEL if command == "repair" else ()))
        assert (ran.code, ran.out) == (3, b"")
        assert ran.err.splitlines()[-1].endswith(" pass already (2 of 2).")


def test_settings_of_the_project_are_followed(kelp_here: Kelp, python: Python, shop: Path) -> None:
    settings = '[tool.kelp]\nexclude = ["src/shop/money.py"]\nmodel = "none"\nmax-runs = 3\n'
    settings += f'test-command = "env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -m pytest tests/unit"\n'
    with (shop / "pyproject.toml").open("a") as file:
        file.write(settings)
    ran = kelp_here("repair", "--json", *python)
    assert ran.code in (0, 1), ran.err
    assert ran.json["model"] == "none" and ran.json["runs"] <= 3
    assert {function["name"].partition("::")[0] for function in ran.json["functions"]} == {"src/shop/cart.py"}
