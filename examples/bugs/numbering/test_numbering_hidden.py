import pytest

from numbering import missing_numbers, next_number, parse_number


def test_numbers_go_up():
    assert next_number("INV-2024-0001", 2024) == "INV-2024-0002"
    assert next_number("INV-2024-0009", 2024) == "INV-2024-0010"
    assert next_number("Q-2024-0000", 2024) == "Q-2024-0001"


def test_every_year_begins_with_one():
    assert next_number("INV-2024-0001", 2025) == "INV-2025-0001"
    assert next_number("CRN-2019-9999", 2025) == "CRN-2025-0001"
    assert next_number("INV-2024-0000", 2025) == "INV-2025-0001"


def test_five_digits_where_it_has_to_be():
    assert next_number("INV-2024-9999", 2024) == "INV-2024-10000"
    assert next_number("INV-2024-10000", 2024) == "INV-2024-10001"


def test_years_gone_by_are_closed():
    with pytest.raises(ValueError, match="2023"):
        next_number("INV-2024-0001", 2023)


def test_a_whole_new_year():
    number, given = "INV-2024-0099", []
    for _ in range(3):
        number = next_number(number, 2025)
        given.append(number)
    assert given == ["INV-2025-0001", "INV-2025-0002", "INV-2025-0003"]
    assert missing_numbers(given) == []


def test_skipped_numbers():
    assert missing_numbers(["INV-2024-0004", "INV-2024-0002"]) == ["INV-2024-0001", "INV-2024-0003"]
    assert missing_numbers(["INV-2025-0002", "CRN-2025-0001", "INV-2024-0001"]) == ["INV-2025-0001"]
    assert missing_numbers([]) == []


def test_parts():
    assert parse_number("INV-2024-0017") == ("INV", 2024, 17)
    with pytest.raises(ValueError, match="inv"):
        parse_number("inv-2024-0017")
    with pytest.raises(ValueError):
        next_number("INV-24-1", 2024)
