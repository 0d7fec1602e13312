import pytest

from semver import latest, version_key


def test_a_pre_release_comes_before_its_release():
    assert version_key("1.0.0-alpha") < version_key("1.0.0")
    assert version_key("1.0.0") < version_key("1.0.1-alpha")
    assert version_key("2.0.0-rc.1") > version_key("1.99.99")


def test_the_usual_chain_is_in_order():
    chain = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
             "1.0.0-rc.1", "1.0.0"]
    assert sorted(reversed(chain), key=version_key) == chain


def test_numbers_come_before_words():
    assert version_key("1.0.0-9") < version_key("1.0.0-a")


def test_build_metadata_does_not_count():
    assert version_key("1.0.0+build.7") == version_key("1.0.0")
    assert version_key("1.0.0-rc.1+b") == version_key("v1.0.0-rc.1")
    assert latest(["1.0.0", "1.1.0+nightly-3"]) == "1.1.0+nightly-3"


def test_the_newest_may_be_a_pre_release_if_asked():
    assert latest(["1.4.0", "1.5.0-rc.1", "1.3.9"], allow_pre=True) == "1.5.0-rc.1"
    assert latest(["1.5.0-rc.1"]) is None
    assert latest([]) is None


def test_other_text_is_refused():
    with pytest.raises(ValueError, match=r"1\.2"):
        version_key("1.2")
