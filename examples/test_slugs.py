"""`unique_slug` numbers the last slug it tried and not the base: "tea-2-3" for "tea-3". Two of these fail."""

from slugs import permalink, slugify, unique_slug


def test_accents_and_punctuation_go():
    assert slugify("  Crème brûlée, twice!  ") == "creme-brulee-twice"


def test_a_title_without_letters_still_has_a_slug():
    assert slugify("???") == "untitled"


def test_a_free_slug_is_taken_as_it_is():
    assert unique_slug("Green Tea", taken={"black-tea"}) == "green-tea"


def test_a_taken_slug_gets_a_number():
    assert unique_slug("Green Tea", taken={"green-tea"}) == "green-tea-2"


def test_the_first_free_number_is_used():
    assert unique_slug("Tea", taken={"tea", "tea-2", "tea-3"}) == "tea-4"


def test_gaps_in_the_numbers_are_filled():
    assert unique_slug("Tea", taken={"tea", "tea-2", "tea-4"}) == "tea-3"


def test_a_long_slug_makes_room_for_its_number():
    assert unique_slug("abcdefgh", taken={"abcdef"}, limit=6) == "abcd-2"


def test_a_permalink_holds_every_section():
    assert permalink("Food/Sweet", "creme-brulee") == "/food/sweet/creme-brulee"
