"""`kelp repair --format`: what an editor or CI applies is what the patch says, byte for byte."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

SHAPES = '''\
UNIT = "m²"


def area(width, height):
    """Fläche 😀"""
    return width + height


def one():
    return 1
'''
TESTS = "import shapes\n\n\ndef test_area():\n    assert shapes.area(3, 5) == 15\n"
OPEN_END = "def one():\n    return 1 + 1  # 😀"
QUICK = ("--model", "none", "--patches", "1")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    folder = tmp_path / "my shapes"  # a name that URIs escape
    folder.mkdir()
    (folder / "shapes.py").write_text(SHAPES)
    (folder / "test_shapes.py").write_text(TESTS)
    return folder / "shapes.py"


def replaced(source: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]]) -> str:
    """Apply edits of ranges (line and column from 0, in UTF-16 code units) as editors do, the last one first."""
    wide = source.encode("utf-16-le")
    starts = [0, *(match.end() for match in re.finditer(b"\n\0", wide) if match.end() % 2 == 0)]
    starts.append(len(wide))

    def offset(place: tuple[int, int]) -> int:
        return min(starts[place[0]] + 2 * place[1], len(wide))

    for start, end, text in sorted(edits, reverse=True):
        wide = wide[: offset(start)] + text.encode("utf-16-le") + wide[offset(end) :]
    return wide.decode("utf-16-le")


def sarif_edits(replacements: list[Any]) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    edits = []
    for each in replacements:
        region = each["deletedRegion"]
        start, end = (
            (region["startLine"] - 1, region["startColumn"] - 1),
            (region["endLine"] - 1, region["endColumn"] - 1),
        )
        edits.append((start, end, each["insertedContent"]["text"]))
    return edits


def test_a_sarif_fix_makes_the_patched_file(kelp_here, shapes, tmp_path):
    ran = kelp_here("repair", shapes, "--format", "sarif", *QUICK)
    assert ran.code == 0 and ran.json["version"] == "2.1.0" and ran.json["$schema"].endswith("sarif-2.1.0.json")
    [run] = ran.json["runs"]
    assert run["columnKind"] == "utf16CodeUnits" and run["tool"]["driver"]["name"] == "Kelp"
    [result] = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    [location] = result["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {
        "uri": "my%20shapes/shapes.py", "uriBaseId": "%SRCROOT%",
    }  # fmt: skip
    assert location["physicalLocation"]["region"] == {"startLine": 6, "endLine": 6}
    assert "1 of 1 tests fail: " in result["message"]["text"]
    [change] = result["fixes"][0]["artifactChanges"]
    assert replaced(SHAPES, sarif_edits(change["replacements"])) == SHAPES.replace("width + height", "width * height")
    assert shapes.read_text() == SHAPES


@pytest.mark.parametrize(
    ("source", "test"),
    [(SHAPES, "area(3, 5) == 15"), (SHAPES.replace("\n", "\r\n"), "area(3, 5) == 15"), (OPEN_END, "one() == 1")],
    ids=["LF", "CRLF", "no newline at the end"],
)
def test_code_actions_and_fixes_make_the_same_file_as_write(kelp_here, shapes, source, test):
    shapes.write_bytes(source.encode())
    arguments = ("repair", shapes, "--assert", test, *QUICK)
    actions, sarif = (kelp_here(*arguments, "--format", name).json for name in ("lsp", "sarif"))
    [action] = actions
    assert action["kind"] == "quickfix" and action["isPreferred"] is True and action["title"].startswith("Kelp: 1 edit")
    [(uri, edits)] = action["edit"]["changes"].items()
    assert unquote(urlsplit(uri).path) == str(shapes)
    ranges = [
        tuple((edit["range"][end]["line"], edit["range"][end]["character"]) for end in ("start", "end"))
        for edit in edits
    ]
    by_lsp = replaced(source, [(*ends, edit["newText"]) for ends, edit in zip(ranges, edits)])
    [change] = sarif["runs"][0]["results"][0]["fixes"][0]["artifactChanges"]
    assert kelp_here(*arguments, "--write").code == 0
    assert by_lsp.encode() == replaced(source, sarif_edits(change["replacements"])).encode() == shapes.read_bytes()


def test_a_github_annotation_is_one_line_at_the_place_of_the_patch(kelp_here, shapes):
    ran = kelp_here("repair", shapes, "--format", "github", *QUICK)
    [line] = ran.out.decode().splitlines()
    head = "::error file=my shapes/shapes.py,line=6,endLine=6,title=Kelp%3A a patch::"
    assert ran.code == 0 and line.startswith(head)
    assert "%0A-    return width + height%0A+    return width * height%0A" in line


def test_without_a_patch_the_likeliest_function_is_named(kelp_here, shapes):
    arguments = (
        "repair",
        shapes,
        "--assert",
        "shapes.area(1, 1) == 'x'",
        "--assert",
        "area(1, 1) == 99",
        "--max-runs",
        5,
    )
    ran = kelp_here(*arguments, "--format", "github", *QUICK)
    assert ran.code == 1 and ran.out.decode().startswith(
        "::error file=my shapes/shapes.py,line=4,endLine=6,title=Kelp%3A no patch found::2 of 2 tests fail"
    )
    [result] = kelp_here(*arguments, "--format", "sarif", *QUICK).json["runs"][0]["results"]
    assert result["fixes"] == [] and result["locations"][0]["physicalLocation"]["region"]["startLine"] == 4
    assert json.loads(kelp_here(*arguments, "--format", "lsp", *QUICK).out) == []


def test_where_all_tests_pass_a_reader_gets_a_file_without_results(kelp_here, shapes):
    arguments = ("repair", shapes, "--assert", "one() == 1", *QUICK)
    assert kelp_here(*arguments, "--format", "sarif").json["runs"][0]["results"] == []
    assert kelp_here(*arguments, "--format", "lsp").json == []
    assert kelp_here(*arguments, "--format", "github").out == b""


def test_a_format_excludes_the_other_outputs(kelp_here, shapes):
    for option in ("--json", "--write", "--diff"):
        ran = kelp_here("repair", shapes, "--format", "lsp", option)
        assert ran.code == 2 and "--format exclude one another" in ran.err


def test_check_ends_well_only_where_all_tests_pass_already(kelp_here, shapes):
    repaired = kelp_here("repair", shapes, "--check", *QUICK)
    assert repaired.code == 1 and "+    return width * height" in repaired.out.decode()
    assert kelp_here("repair", shapes, "--check", "--assert", "one() == 1", *QUICK).code == 0
    assert kelp_here("repair", "nowhere.py", "--check", *QUICK).code == 2
