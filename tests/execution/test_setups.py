"""No honest setup of folders, links, paths and libraries is taken for an attack, and what is refused says why."""

import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.execution.test_pytest_run import PATIENT, Project

from kelp.execution import Observation, Sandbox, Suite
from kelp.execution.suite import absolute

pytestmark = pytest.mark.slow

CALC = "def add(a, b):\n    return a + b\n"
HELPER = "import unittest\nclass Base(unittest.TestCase):\n    def run(self, result=None): return super().run(result)\n"
PLAIN = "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n"
HELPED = PLAIN + "from helper import Base\nclass TestIt(Base):\n    def test_it(self): self.assertEqual(add(1, 2), 3)\n"
HOOK = "import pytest\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtest_call(item):\n    return (yield)\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("pytest.ini", "[pytest]\n")
    project.write("calc.py", CALC)
    project.write("tests/conftest.py", HOOK)
    project.write("tests/test_calc.py", PLAIN)
    (project.folder / "other").mkdir()
    return project


def run(module: Path | str, *tests: Path | str) -> Observation:
    module = Path(module)
    with Sandbox(Suite(pytest_files=tuple(map(Path, tests))), module=module, limits=PATIENT) as sandbox:
        return sandbox.run(module.read_bytes())


def install(folder: Path) -> Path:
    """A folder with a pytest of its own, and the helper."""
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / name)
    shutil.copy(Path(pytest.__file__).parents[1] / "py.py", folder)
    (folder / "helper.py").write_text(HELPER)
    return folder


def paths() -> dict[str, tuple[str, str]]:
    """The program and the test file as they are given, from the project's parent folder."""
    return {
        "tests by ..": ("project/calc.py", "project/other/../tests/test_calc.py"),
        "both by ..": ("project/other/../calc.py", "project/tests/../tests/test_calc.py"),
        "through a link": ("link/calc.py", "link/tests/test_calc.py"),
        "one through a link": ("project/calc.py", "link/tests/test_calc.py"),
        "the other through a link": ("link/calc.py", "project/tests/test_calc.py"),
        "from where a link leads, by ..": ("project/calc.py", "elsewhere/tests/../tests/test_calc.py"),
        "a link to the test file": ("project/calc.py", "project/tests/test_link.py"),
        "a link to the program": ("project/calc.py", "project/tests/test_calc.py"),
    }


@pytest.mark.parametrize("how", paths())
def test_a_path_may_be_spelled_in_any_way(project: Project, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.chdir(project.folder.parent)
    Path("link").symlink_to("project")
    Path("elsewhere").mkdir()
    Path("elsewhere/tests").symlink_to(project.folder / "tests")
    Path("project/tests/test_link.py").symlink_to("test_calc.py")
    if how == "a link to the program":
        (project.folder / "calc.py").rename("real.py")
        (project.folder / "calc.py").symlink_to(Path("real.py").absolute())
    assert run(*paths()[how]).ok


def test_a_path_without_dots_keeps_its_links(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep")
    assert absolute(tmp_path / "link" / "x.py") == tmp_path / "link" / "x.py"
    assert absolute(tmp_path / "link" / ".." / "x.py") == (tmp_path / "real").resolve() / "x.py"
    assert str(absolute(Path("//usr/./x.py"))) == "/usr/x.py"


@pytest.mark.parametrize(
    "entry", ["project/lib", "project/other/../lib", "link/lib", "lib", "project/lib.zip", "lib.zip"]
)
def test_helpers_may_be_anywhere_on_pythonpath(project: Project, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.chdir(project.folder.parent)
    monkeypatch.setenv("PYTHONPATH", entry)  # relative, as people write it
    Path("link").symlink_to("project")
    if entry.endswith(".zip"):
        with zipfile.ZipFile(entry, "w") as archive:
            archive.writestr("helper.py", HELPER)
    else:
        folder = Path(entry).resolve()
        folder.mkdir()
        (folder / "helper.py").write_text(HELPER)
    project.write("tests/test_calc.py", HELPED)
    assert run("project/calc.py", "project/tests/test_calc.py").passed == 2


@pytest.mark.parametrize("place", ["project/.venv/lib/site-packages", "project/vendor", "env/site-packages", "link"])
def test_libraries_may_be_installed_anywhere_on_pythonpath(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(project.folder.parent)
    if place == "link":
        Path("link").symlink_to(install(Path("env/site-packages").absolute()))
    else:
        install(Path(place))
    monkeypatch.setenv("PYTHONPATH", str(Path(place).absolute()))
    project.write("tests/test_calc.py", HELPED)
    assert run(project.folder / "calc.py", project.folder / "tests/test_calc.py").passed == 2


@pytest.mark.parametrize("extra", ["overlay/site-packages", "overlay/plain", "project/vendor"])
def test_libraries_may_come_by_a_pth_file(project: Project, monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    env = project.folder.parent / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    [installed] = env.glob("lib/python*/site-packages")
    (installed / "overlay.pth").write_text(str(install(project.folder.parent / extra)))
    monkeypatch.setattr(sys, "executable", str(env / "bin" / "python"))
    project.write("tests/test_calc.py", HELPED)
    assert run(project.folder / "calc.py", project.folder / "tests/test_calc.py").passed == 2


def test_libraries_may_be_the_users(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    base = project.folder.parent / "base"
    install(Path(sysconfig.get_path("purelib", "posix_user", {"userbase": str(base)})))
    monkeypatch.setattr(sys, "executable", sys._base_executable)
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "USER_BASE", str(base))
    project.write("tests/test_calc.py", HELPED)
    assert run(project.folder / "calc.py", project.folder / "tests/test_calc.py").passed == 2


def conftests() -> dict[str, dict[str, str]]:
    """Files of a project beside the program."""
    late = "def run(item, nextitem):\n    from _pytest.runner import runtestprotocol\n    hook = item.ihook\n"
    late += "    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)\n"
    late += "    runtestprotocol(item, nextitem=nextitem)\n"
    late += "    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)\n"
    return {
        "a module imported late runs the tests": {
            "tests/conftest.py": "def pytest_runtest_protocol(item, nextitem):\n    import late\n"
            "    late.run(item, nextitem)\n    return True\n",
            "tests/late.py": late,
        },
        "a plugin of the project": {"conftest.py": "pytest_plugins = ['plug']\n", "plug.py": HOOK},
        "a folder put on the path": {
            "lib/helper.py": HELPER,
            "tests/conftest.py": "import os, sys\nsys.path.insert(0, os.path.dirname(__file__) + '/../lib')\n",
            "tests/test_calc.py": HELPED,
        },
        "tests of another test file": {
            "tests/test_calc.py": "from test_more import *\n",
            "tests/test_more.py": PLAIN,
        },
        "a test file under two names": {
            "tests/__init__.py": "",
            "conftest.py": "import sys\nsys.path.insert(0, __file__.rpartition('/')[0] + '/tests')\n",
            "tests/test_calc.py": "from test_more import *\nimport test_more\nfrom tests import test_more as again\n"
            "def test_both(): assert test_more is not again and again.add(1, 2) == 3\n",
            "tests/test_more.py": PLAIN,
        },
        "a test that is a partial function": {
            "tests/test_calc.py": "from functools import partial\nfrom calc import add\n"
            "def check(n): assert add(n, 2) == n + 2\ntest_one = partial(check, 1)\n"
        },
    }


@pytest.mark.parametrize("what", conftests())
def test_tests_may_be_put_together_in_any_way(project: Project, what: str) -> None:
    for name, text in conftests()[what].items():
        project.write(name, text)
    observation = run(project.folder / "calc.py", project.folder / "tests/test_calc.py")
    assert observation.ok, observation


def test_a_program_named_like_a_test_file_is_the_program(project: Project) -> None:
    project.write("tests/test_tools.py", "def add(a, b):\n    return 0\n")
    project.write("tests/test_calc.py", PLAIN.replace("calc", "test_tools"))
    with project.sandbox("tests/test_tools.py", "tests/test_calc.py") as sandbox:
        assert sandbox.run(CALC.encode()).ok
        assert not sandbox.run(CALC.replace("+", "-").encode()).ok


REPLACED: dict[str, tuple[str, str, str]] = {  # conftest.py, more tests, what is said
    "a name of the test file": (
        "",
        "from time import sleep\ndef test_it(monkeypatch):\n    monkeypatch.setattr('test_calc.sleep', int)\n",
        "sleep of the test file was replaced while the tests ran (TESTS/test_calc.py); "
        "if that is meant, use --test-command",
    ),
    "a builtin for good": (
        "import builtins\nold = print\nbuiltins.print = lambda *a, **k: old(*a, **k)\n",
        "",
        "builtins.print was replaced while the tests ran; if that is meant, use --test-command",
    ),
    "the running of tests": (
        "",
        "import unittest\nnames = {'B': unittest.TestCase}\nexec('class C(B):\\n    def run(self, result=None):\\n'\n"
        "     '        return super().run(result)', names)\nclass TestIt(names['C']):\n    def test_it(self): pass\n",
        "code that is not theirs took part in running the tests (<string>); if that is meant, use --test-command",
    ),
}


@pytest.mark.parametrize("what", REPLACED)
def test_what_cannot_be_vouched_for_is_said_without_blame(project: Project, what: str) -> None:
    conftest, more, said = REPLACED[what]
    project.write("tests/conftest.py", conftest)
    project.write("tests/test_calc.py", PLAIN + more)
    observation = run(project.folder / "calc.py", project.folder / "tests/test_calc.py")
    assert observation.error == said.replace("TESTS", str(project.folder / "tests"))
    assert not observation.ok and observation.passed == 0


UNKNOWN = {
    "made from text": "exec('def test_it():\\n    assert add(1, 2) == 3')\n",
    "of a library": "from hypothesis.stateful import RuleBasedStateMachine, rule\nclass M(RuleBasedStateMachine):\n"
    "    @rule()\n    def add(self): assert add(1, 2) == 3\nTestIt = M.TestCase\n",
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_test_whose_code_is_not_known_takes_no_other_along(project: Project, what: str) -> None:
    project.write("tests/test_calc.py", PLAIN + UNKNOWN[what])
    known, unknown = run(project.folder / "calc.py", project.folder / "tests/test_calc.py").outcomes
    assert known.status == "pass"
    assert (unknown.status, unknown.exception) == ("error", "NotJudged")
    assert unknown.message is not None and unknown.message.endswith("--test-command can run it")
