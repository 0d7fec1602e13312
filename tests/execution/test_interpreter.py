"""Tests run in the Python that a project has, with its packages, as confined as in Kelp's own."""

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest
from tests.environments import OWN, VERSIONS, Environments, base, site_packages

from kelp.execution import Limits, Sandbox, Suite
from kelp.execution.interpreter import Interpreter, InterpreterError, found, named, own
from kelp.execution.selftest import Check, self_test

LIMITS = Limits(seconds=20)
ADD = b"def add(a, b):\n    return a + b\n"
WRONG = b"def add(a, b):\n    return a - b\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(content))


@pytest.fixture(autouse=True)
def no_active_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


# Running


@cache
def protections_of_own() -> tuple[list[Check], Mapping[str, str], tuple[str, ...]]:
    return self_test()


@pytest.mark.parametrize("version", VERSIONS)
def test_asserts_and_doctests_run_in_every_python_without_pytest(environments: Environments, version: str) -> None:
    python = named(str(environments.plain(version)))
    assert ".".join(map(str, python.release)) == version
    source = b"import sys\ndef add(a, b):\n    '''\n    >>> add(1, 2)\n    3\n    '''\n    return a + b\n"
    with Sandbox(Suite(asserts=("add(1, 2) == 3",), doctest=True), python=python, limits=LIMITS) as sandbox:
        right, wrong = sandbox.run(source, trace=True), sandbox.run(source.replace(b"+", b"-"))
        assert right.ok and right.total == 2 and all(outcome.lines == {7} for outcome in right.outcomes), right
        assert [outcome.status for outcome in wrong.outcomes] == ["fail", "fail"]
        short = sandbox.run(b"def add(a, b): return a - b\n", trace=True)
        assert all(outcome.lines == {1} for outcome in short.outcomes), short
        [release, path] = sandbox.evaluate(source, ["sys.version_info[:2]", "sys.path"])
        assert release.repr == repr(python.release)
        [kelps] = sandbox.evaluate(b"def f():\n    import typer\n", ["f()"])  # is installed beside Kelp
        assert kelps.exception == "ModuleNotFoundError" and str(Path(own().path).parents[1]) not in (path.repr or "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.slow
def test_every_protection_holds_in_every_python(environments: Environments, version: str) -> None:
    checks, means, missing = self_test(named(str(environments.plain(version))))
    own_checks, own_means, own_missing = protections_of_own()
    assert (means, missing) == (own_means, own_missing)
    assert {check.name for check in checks if check.holds} >= {check.name for check in own_checks if check.holds}


@pytest.mark.parametrize("version", VERSIONS)
def test_test_files_use_the_pytest_and_the_packages_of_the_environment(
    environments: Environments, tmp_path: Path, version: str
) -> None:
    environment, project = environments.with_pytest(version), tmp_path / "project"
    write(site_packages(environment), {"colors/__init__.py": "RED = 1\n"})
    # Two packages are installed as links to their source, in the two ways there are.
    write(tmp_path, {"elsewhere/linked/__init__.py": "ONE = 1\n", "other/hooked/__init__.py": "TWO = 2\n"})
    hook = f"""
        import importlib.util, sys
        MAPPING = {{"hooked": {str(tmp_path / "other" / "hooked")!r}}}
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name in MAPPING:
                    return importlib.util.spec_from_file_location(name, MAPPING[name] + "/__init__.py")
        sys.meta_path.append(Finder)
        """
    links = {"hooked.pth": "import __editable___hooked_finder\n", "linked.pth": f"{tmp_path / 'elsewhere'}\n"}
    write(site_packages(environment), {"__editable___hooked_finder.py": hook} | links)
    test = """
        import sys, colors, hooked, linked, pytest
        from calc import add
        @pytest.mark.parametrize("a", [1, 2])
        def test_add(a): assert add(a, hooked.TWO) == a + linked.ONE + colors.RED
        def test_source(): assert open(linked.__file__).read() and open(hooked.__file__).read()
        """
    write(project, {"calc.py": ADD.decode(), "test_calc.py": test, "pytest.ini": ""})
    suite = Suite(pytest_files=(project / "test_calc.py",))
    with Sandbox(suite, module=project / "calc.py", python=named(str(environment)), limits=LIMITS) as sandbox:
        assert sandbox.run(ADD).ok, sandbox.run(ADD)
        assert [outcome.status for outcome in sandbox.run(WRONG).outcomes] == ["fail", "fail", "pass"]
        assert not sandbox.run(b"import os\ndef add(a, b):\n    os._exit(0)\n").ok


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_pytest_is_said_with_the_command_that_installs_it(
    environments: Environments, tmp_path: Path, version: str
) -> None:
    write(tmp_path, {"calc.py": ADD.decode(), "test_calc.py": "def test_add(): pass\n"})
    environment = environments.plain(version)
    suite = Suite(pytest_files=(tmp_path / "test_calc.py",))
    with pytest.raises(RuntimeError) as caught:
        Sandbox(suite, module=tmp_path / "calc.py", python=named(str(environment)))
    python = environment / "bin/python"
    install = f"uv pip install --python {python} pytest installs it"  # it has no pip
    assert str(caught.value) == f"{python} has no pytest, which runs the tests: {install}"


def test_an_old_pytest_is_said_with_the_command_that_replaces_it(environments: Environments, tmp_path: Path) -> None:
    write(tmp_path, {"calc.py": ADD.decode(), "test_calc.py": "def test_add(): pass\n"})
    environment = tmp_path / "env"
    subprocess.run([base(OWN), "-m", "venv", "--without-pip", str(environment)], check=True)
    write(site_packages(environment), {"pytest.py": '__version__ = "6.2.5"\n', "pip.py": ""})
    with pytest.raises(
        RuntimeError, match=r"bin/python has pytest 6\.2\.5, and Kelp needs 8\.3 or newer: .*pip install"
    ):
        Sandbox(
            Suite(pytest_files=(tmp_path / "test_calc.py",)),
            module=tmp_path / "calc.py",
            python=named(str(environment)),
        )


def test_a_test_command_takes_the_programs_of_the_environment_first(environments: Environments, tmp_path: Path) -> None:
    environment = environments.plain(OWN)
    check = f"""
        import os, sys
        from calc import add
        assert sys.prefix == os.environ["VIRTUAL_ENV"] == {str(environment)!r}, sys.prefix
        assert add(1, 2) == 3
        """
    write(tmp_path, {"calc.py": ADD.decode(), "check.py": check, "pytest.ini": ""})
    suite = Suite(command=("python", "check.py"))
    try:
        sandbox = Sandbox(suite, module=tmp_path / "calc.py", python=named(str(environment)), limits=LIMITS)
    except RuntimeError as error:
        pytest.skip(str(error))
    with sandbox:
        assert sandbox.run(ADD).ok, sandbox.run(ADD)
        assert not sandbox.run(WRONG).ok


# Names


def test_a_python_is_named_by_its_path_its_environment_or_its_version(environments: Environments) -> None:
    environment = environments.plain(OWN)
    python = named(str(environment / "bin" / "python"))
    assert python == named(str(environment)) and python.environment == str(environment) and not python.is_own
    assert str(python) == f"{environment} (Python {python.version})" and python.release == sys.version_info[:2]
    assert own().is_own and named(sys.executable).is_own
    try:
        assert named(OWN).release == sys.version_info[:2]
    except InterpreterError:
        pytest.skip(f"no python{OWN} is on the PATH")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "{path} does not start: no such file or directory"),
        ("import nothing", "{path} does not start: "),
        ("echo cpython 3.8.18 /x", "{path} is Python 3.8.18, and tests run in Python 3.9 or newer"),
        ("echo cpython 2.7.18 /x", "{path} is Python 2.7.18, and tests run in Python 3.9 or newer"),
        ("echo pypy 3.11.1 /x", "{path} is pypy, and tests run in CPython alone"),
        ("echo hello", "{path} is no Python: "),
        ("echo oh no >&2; exit 3", "{path} does not start: oh no"),
    ],
)
def test_each_python_that_cannot_be_used_has_its_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "python"
    if content is not None:
        path.write_text(f"#!/bin/sh\n{content}\n")
        path.chmod(0o755)
    with pytest.raises(InterpreterError) as caught:
        named(str(path))
    assert str(caught.value).startswith(sentence.format(path=path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (".", "{here} has no bin/python, so it is no environment of Python"),
        ("nopython", "There is no Python nopython: give an executable, an environment's folder or a version"),
        ("3.99", "There is no Python 3.99 on the PATH, of pyenv or of uv: give the path of one"),
        ("3.8", "3.8 is too old, and tests run in Python 3.9 or newer"),
    ],
)
def test_each_name_that_leads_nowhere_has_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InterpreterError) as caught:
        named(name)
    assert str(caught.value) == sentence.format(here=tmp_path)


@pytest.mark.parametrize(
    ("version", "source", "problem"),
    [
        ("3.9", b"def f(x):\n    match x:\n        case 1:\n            return 2\n", "line 2: "),
        ("3.11", b"type X = int\n", "line 1: "),
        ("3.13", b"type X = int\ndef f[T = int](x: T) -> T:\n    return x\n", None),
        (OWN, b"\0", ""),
        (OWN, ADD, None),
    ],
)
def test_a_programs_syntax_is_judged_by_the_python_that_runs_it(
    version: str, source: bytes, problem: str | None
) -> None:
    found_problem = named(base(version)).syntax_error(source)
    assert (found_problem is None) == (problem is None) and (found_problem or "").startswith(problem or "")


# The Python of a project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A file two folders deep in a project."""
    (tmp_path / "project" / "src" / "app").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("")
    file = tmp_path / "project" / "src" / "app" / "calc.py"
    file.write_bytes(ADD)
    return file


def environment_in(folder: Path, name: str = ".venv") -> Path:
    subprocess.run([base(OWN), "-m", "venv", "--without-pip", str(folder / name)], check=True)
    return folder / name


def folder_of(python: Interpreter) -> str | None:
    return None if python.is_own else python.environment


def test_the_nearest_environment_up_to_the_projects_root_is_found(project: Path) -> None:
    root = project.parents[2]
    environment_in(root.parent)  # above the project
    assert folder_of(found(project)) is None
    venv = environment_in(root, "venv")
    assert folder_of(found(project)) == str(venv)
    dotted = environment_in(root)
    assert folder_of(found(project)) == str(dotted)
    nearest = environment_in(project.parents[1])
    assert folder_of(found(project)) == str(nearest)


def test_the_active_environment_comes_before_the_projects(
    project: Path, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_in(project.parents[2])
    active = str(environments.plain(OWN))
    monkeypatch.setenv("CONDA_PREFIX", active)
    assert folder_of(found(project)) == active
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "base")  # active in every shell of many people
    assert folder_of(found(project)) == str(project.parents[2] / ".venv")
    monkeypatch.setenv("VIRTUAL_ENV", active)
    assert folder_of(found(project)) == active
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert found(project) == own()
    monkeypatch.setenv("VIRTUAL_ENV", str(project.parent))
    with pytest.raises(InterpreterError, match="so it is no environment of Python"):
        found(project)


def test_an_environment_that_nobody_here_has_made_is_left_out(project: Path) -> None:
    root = project.parents[2]
    environment = environment_in(root)
    python = environment / "bin" / "python"
    target = os.readlink(python)
    python.unlink()
    python.write_text("#!/bin/sh\ntouch /tmp/kelp-was-here\n")
    python.chmod(0o755)
    assert found(project) == own()
    python.unlink()
    python.symlink_to(target)
    assert folder_of(found(project)) == str(environment)

    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    assert folder_of(found(project)) == str(environment)
    subprocess.run(["git", "-C", str(root), "add", "--force", ".venv"], check=True)
    assert found(project) == own()


def test_an_environment_of_uv_elsewhere_comes_before_the_projects(
    project: Path, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project.parents[2]
    environment_in(root)
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(environments.plain(OWN)))
    assert folder_of(found(project)) == str(environments.plain(OWN))
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", "not-made-yet")
    assert folder_of(found(project)) == str(root / ".venv")
    (root / ".venv").rename(root / "not-made-yet")
    assert folder_of(found(project)) == str(root / "not-made-yet")


def test_the_environment_that_pdm_has_written_down_is_found(project: Path, environments: Environments) -> None:
    root, note = project.parents[2], project.parents[2] / ".pdm-python"
    note.write_text(f"{environments.plain(OWN)}/bin/python\n")
    assert folder_of(found(project)) == str(environments.plain(OWN))
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "--force", note.name], check=True)
    assert found(project) == own()  # it comes with the repository
    subprocess.run(["git", "-C", str(root), "rm", "--quiet", "--cached", note.name], check=True)
    for nowhere in ("", "\0", f"{sys.prefix}/nowhere/bin/python"):
        note.write_text(nowhere)
        assert found(project) == own()


def test_the_environment_of_poetry_is_found_by_the_path_of_the_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, kept = project.parents[2], tmp_path / "cache" / "virtualenvs"
    mark = base64.urlsafe_b64encode(sha256(os.fsencode(root.resolve())).digest())[:8].decode()
    kept.mkdir(parents=True)
    old, new = (environment_in(kept, f"an-app-{mark}-py{version}") for version in ("3.9", "3.13"))
    environment_in(kept, "an-app-AbCd1234-py3.14")  # of another project
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("POETRY_CACHE_DIR", str(tmp_path / "cache"))
    assert found(project) == own()  # nothing says that it is a project of Poetry
    (root / "pyproject.toml").write_text("[tool.poetry]\n")
    assert folder_of(found(project)) == str(new)
    (kept / "envs.toml").write_text(f'[an-app-{mark}]\nminor = "3.9"\npatch = "3.9.18"\n')
    assert folder_of(found(project)) == str(old)
    monkeypatch.delenv("POETRY_CACHE_DIR")
    (tmp_path / "config" / "pypoetry").mkdir(parents=True)
    settings = tmp_path / "config" / "pypoetry" / "config.toml"
    settings.write_text(f'cache-dir = "{tmp_path}/cache"\n[virtualenvs]\npath = "{{cache-dir}}/virtualenvs"\n')
    assert folder_of(found(project)) == str(old)
    settings.write_text("is no TOML")
    assert found(project) == own()
