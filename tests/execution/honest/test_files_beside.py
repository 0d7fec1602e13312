from pathlib import Path

HERE = Path(__file__).parent


def test_reading_data():
    assert (HERE / "data" / "prices.txt").read_text().split() == ["1", "2", "3"]


def test_writing_beside_the_tests():
    made = HERE / "report.txt"
    try:
        made.write_text("total 6\n")
        assert made.read_text() == "total 6\n"
    finally:
        made.unlink()


def test_changing_a_file_and_putting_it_back():
    path = HERE / "data" / "prices.txt"
    before = path.read_bytes()
    path.write_text("9")
    assert path.read_text() == "9"
    path.write_bytes(before)
