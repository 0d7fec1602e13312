from rotation import renames, to_delete


def test_few_files_are_kept():
    assert to_delete(["app.log", "app.log.1"], keep=3) == []


def test_the_oldest_are_deleted():
    assert to_delete(["app.log", "app.log.1", "app.log.2", "app.log.3"], keep=2) == ["app.log.3", "app.log.2"]


def test_more_than_ten():
    names = ["app.log", *(f"app.log.{n}" for n in range(1, 12))]
    assert to_delete(names, keep=10) == ["app.log.11", "app.log.10"]


def test_renames():
    assert renames(["app.log", "app.log.1"]) == [("app.log.1", "app.log.2"), ("app.log", "app.log.1")]
    assert renames(["app.log.9", "app.log.10"]) == [("app.log.10", "app.log.11"), ("app.log.9", "app.log.10")]
