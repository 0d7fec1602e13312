import pytest
from tests.programs import PYTHON

from kelp.search.task import Budget, Target, Task


def test_a_target_must_be_a_function_of_the_file() -> None:
    with pytest.raises(ValueError, match="no function g"):
        Task(b"def f():\n    pass\n", (Target("g"),), PYTHON)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"seconds": 0.0}, {"edits": -1}, {"patches": 0}, {"more_runs": -1}])
def test_budgets_are_positive(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Budget(**wrong)


def test_windows_follow_the_functions_of_a_state() -> None:
    file = b"class A:\n    def f(self):\n        return 1\n\n\ndef g():\n    return 2\n"
    task = Task(file, (Target("A.f"), Target("g")), PYTHON)
    assert [window.source for _, window in task.windows(file)] == [
        b"def f(self):\n    return 1", b"def g():\n    return 2",
    ]  # fmt: skip
    assert [target.qualname for target, _ in task.windows(b"def g():\n    return 3\n")] == ["g"]
