from toc import contents, headings


def test_one_chapter():
    assert contents(["# Start", "text"]) == "1 Start"


def test_text_without_headings():
    assert headings(["#hashtag", "", "no # heading", "#### too deep"]) == []


def test_chapters_and_sections():
    assert contents(["# A", "## B", "## C", "# D", "## E"]) == "1 A\n  1.1 B\n  1.2 C\n2 D\n  2.1 E"
