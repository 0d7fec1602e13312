import pytest

from rotation import age, base_name, renames, to_delete


def rotated(name, last):
    return [name, *(f"{name}.{n}" for n in range(1, last + 1))]


@pytest.mark.parametrize("keep", [1, 2, 5, 10, 11, 25, 30])
def test_the_newest_are_kept(keep):
    names = rotated("app.log", 25)
    assert to_delete(reversed(names), keep) == names[keep:][::-1]


def test_compressed_files_count_by_age_too():
    names = ["app.log", "app.log.1", "app.log.2.gz", "app.log.9.gz", "app.log.10.gz"]
    assert to_delete(names, keep=4) == ["app.log.10.gz"]
    assert to_delete(names, keep=3) == ["app.log.10.gz", "app.log.9.gz"]


def test_gaps_do_not_matter():
    assert to_delete(["app.log", "app.log.7", "app.log.30", "app.log.100"], keep=3) == ["app.log.100"]


def test_each_log_is_kept_by_itself():
    names = rotated("a.log", 2) + rotated("b.log", 11)
    assert to_delete(names, keep=11) == ["b.log.11"]
    assert sorted(to_delete(names, keep=2)) == sorted(["a.log.2", *(f"b.log.{n}" for n in range(2, 12))])


def test_nothing_to_delete():
    assert to_delete([], keep=1) == []
    assert to_delete(["app.log"], keep=1) == []


def test_names():
    assert [age(name) for name in ("app.log", "app.log.gz", "app.log.12", "app.log.3.gz")] == [0, 0, 12, 3]
    assert [base_name(name) for name in ("app.log", "app.log.12", "app.log.3.gz")] == ["app.log"] * 3


def test_renames_overwrite_nothing():
    assert renames(["app.log", "app.log.10", "app.log.9.gz"]) == [
        ("app.log.10", "app.log.11"),
        ("app.log.9.gz", "app.log.10.gz"),
        ("app.log", "app.log.1"),
    ]


def test_something_must_be_kept():
    with pytest.raises(ValueError, match="keep"):
        to_delete(["app.log"], keep=0)
