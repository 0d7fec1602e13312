from semver import latest, version_key


def test_numbers_are_compared_as_numbers():
    assert sorted(["1.10.0", "1.9.3", "v1.2.0"], key=version_key) == ["v1.2.0", "1.9.3", "1.10.0"]


def test_a_release_comes_after_its_candidates():
    assert latest(["1.4.0-rc.1", "1.4.0", "1.4.0-rc.2"], allow_pre=True) == "1.4.0"


def test_pre_releases_are_left_out():
    assert latest(["2.0.0-beta", "1.4.0"]) == "1.4.0"
