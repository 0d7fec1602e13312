"""scripts/release.py: a release that lacks something is refused, in a sentence that names it."""

import importlib
import zipfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("release")


@pytest.fixture
def wheel(release, tmp_path):
    """Writes a wheel with all that a release needs, changed by keyword: a file's new text, or None to leave it out."""

    def write(**changes):
        info = "kelp_repair-1.0.dist-info"
        files = dict.fromkeys([*release.NEEDED, "kelp/errors.py"], "") | {
            f"{info}/METADATA": "Name: kelp-repair\nVersion: 1.0\n",
            f"{info}/entry_points.txt": "[console_scripts]\nkelp = kelp:main\nkelp-repair = kelp:main\n",
        }
        files |= {name.replace("INFO", info): text for name, text in changes.items()}
        path = tmp_path / "kelp_repair-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                if text is not None:
                    archive.writestr(name, text)
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kelp/models/default/model.safetensors": None}, "lacks kelp/models/default/model.safetensors"),
        ({"kelp/errors.py": None}, "lacks kelp/errors.py"),
        ({"tests/test_x.py": ""}, "holds tests/test_x.py"),
        ({"kelp/errors.pyc": ""}, "holds kelp/errors.pyc"),
        ({"INFO/METADATA": "Name: kelp\nVersion: 1.0\n"}, "is kelp 1.0, not kelp-repair 1.0"),
        ({"INFO/entry_points.txt": "[console_scripts]\nkelp = kelp:main\n"}, "has no script kelp-repair"),
    ],
)
def test_a_wheel_that_lacks_something_or_holds_too_much_is_refused(release, wheel, changes, words):
    with pytest.raises(release.ReleaseError, match=words):
        release.check_wheel(wheel(**changes), "1.0", ["kelp/errors.py"])


def test_a_whole_wheel_is_accepted(release, wheel):
    assert release.check_wheel(wheel(), "1.0", ["kelp/errors.py"]).startswith("8 files")


@pytest.mark.parametrize(
    ("version", "changelog", "words"),
    [
        ("1.1", "# Changelog\n\n## 1.1 (2026-12-01)\n- New.\n", "says 1.0, not 1.1"),
        ("1.0", "# Changelog\n\n## Unreleased\n- New.\n", "begins with '## Unreleased', not '## 1.0"),
        ("1.0", "# Changelog\n\n## 1.0 (2026-12-01)\n\n## 0.9 (2026-01-01)\n- Old.\n", "says nothing"),
    ],
)
def test_version_package_and_changelog_must_agree(release, version, changelog, words):
    with pytest.raises(release.ReleaseError, match=words):
        release.check_version(version, "1.0", changelog)


def test_the_newest_section_of_the_changelog_is_the_release_s(release):
    text = "# Changelog\n\n## 1.0 (2026-12-01)\n- New.\n\n## 0.9 (2026-01-01)\n- Old.\n"
    assert release.check_version("1.0", "1.0", text) == "- New."
