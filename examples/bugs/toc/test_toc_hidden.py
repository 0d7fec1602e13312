from toc import Heading, contents, headings


def numbers(*marks, deepest=3):
    return [heading.number for heading in headings([f"{mark} x" for mark in marks], deepest)]


def test_chapters_count_up():
    assert numbers("#", "#", "#") == ["1", "2", "3"]
    assert numbers(*["#"] * 11)[-1] == "11"


def test_sections_start_again_in_every_chapter():
    assert numbers("#", "##", "##", "#", "##") == ["1", "1.1", "1.2", "2", "2.1"]


def test_three_depths():
    assert numbers("#", "##", "###", "###", "##", "###") == ["1", "1.1", "1.1.1", "1.1.2", "1.2", "1.2.1"]
    assert numbers("#", "##", "###", "#", "##", "###") == ["1", "1.1", "1.1.1", "2", "2.1", "2.1.1"]


def test_a_depth_that_is_left_out_is_zero():
    assert numbers("#", "###", "###") == ["1", "1.0.1", "1.0.2"]
    assert numbers("##", "#") == ["0.1", "1"]


def test_what_is_too_deep_does_not_count():
    assert numbers("#", "##", "###", "##", deepest=2) == ["1", "1.1", "1.2"]
    assert numbers("#", "##", "#", deepest=1) == ["1", "2"]


def test_code_holds_no_headings():
    assert headings(["# A", "```sh", "# comment", "```", "# B"]) == [Heading(1, "A", "1"), Heading(1, "B", "2")]


def test_titles():
    assert headings(["##  Two words ##"]) == [Heading(2, "Two words", "0.1")]
    assert headings(["# ", "#", "#x", "#! x"]) == []


def test_the_list():
    assert contents(["# A", "## B", "### C", "# D"]) == "1 A\n  1.1 B\n    1.1.1 C\n2 D"
    assert contents([]) == ""
