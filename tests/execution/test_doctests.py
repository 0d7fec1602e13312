from pathlib import Path

from kelp.execution import Limits, Sandbox, Suite

PATIENT = Limits(seconds=60)
SOURCE = b'''
def double(x):
    """
    >>> double(2)
    4
    >>> double('a')
    'aa'
    """
    return 2 * x


class Shelf:
    """
    >>> Shelf().first()
    'tea'
    """

    def first(self):
        return ["tea"][0]
'''


def test_each_docstring_is_a_test() -> None:
    with Sandbox(Suite(doctest=True), limits=PATIENT) as sandbox:
        observation = sandbox.run(SOURCE)
        assert observation.ok
        assert [o.name for o in observation.outcomes] == ["program.Shelf", "program.double"]

        failed = sandbox.run(SOURCE.replace(b"2 * x", b"x + x + x"), first="program.double").outcomes[0]
        assert (failed.status, failed.call, failed.got, failed.expected) == ("fail", "double(2)", "6", "4")

        error = sandbox.run(SOURCE.replace(b"[0]", b"[1]"), stop_on_failure=True)
        [outcome] = error.outcomes
        assert (outcome.name, outcome.exception, outcome.line) == ("program.Shelf", "IndexError", 19)
        assert (error.total, error.not_run) == (2, 1)

        traced = sandbox.run(SOURCE, trace=True)
        assert traced.lines_passing == {9, 19}


def test_doctests_of_a_file_go_along_with_asserts_on_it(tmp_path: Path) -> None:
    module = tmp_path / "shelves.py"
    module.write_bytes(SOURCE)
    suite = Suite(asserts=("double(3) == 6",), doctest=True, setup="THREE = 3")
    with Sandbox(suite, module=module, limits=PATIENT) as sandbox:
        names = [o.name for o in sandbox.run(SOURCE).outcomes]
        assert names == ["double(3) == 6", "shelves.Shelf", "shelves.double"]
        names = [o.name for o in sandbox.run(SOURCE, first="shelves.double").outcomes]
        assert names == ["shelves.double", "shelves.Shelf", "double(3) == 6"]


def test_a_program_without_examples_has_no_tests() -> None:
    with Sandbox(Suite(doctest=True), limits=PATIENT) as sandbox:
        assert sandbox.run(b"x = 1\n").error == "no tests were found"
