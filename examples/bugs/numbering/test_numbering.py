from numbering import missing_numbers, next_number


def test_the_next_of_a_year():
    assert next_number("INV-2024-0017", 2024) == "INV-2024-0018"


def test_the_first_of_a_year():
    assert next_number("INV-2024-0017", 2025) == "INV-2025-0001"


def test_skipped_numbers():
    assert missing_numbers(["INV-2024-0001", "INV-2024-0003"]) == ["INV-2024-0002"]
