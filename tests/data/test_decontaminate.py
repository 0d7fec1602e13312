"""What is kept out of the training data: benchmarks, renamed, reformatted, changed a little, or written anew."""

import ast
import json
from textwrap import dedent

import pytest

from kelp.data import toy
from kelp.data.corpus import decontaminate
from kelp.data.corpus.decontaminate import Excluded, Match, fingerprint

MBPP_TASK = """def remove_dirty(string, char):
    out = ''
    for c in string:
        if c != char:
            out = out + c
    return out[::-1]
"""
TEXT = "Write a python function to remove every occurrence of a given dirty character and turn the rest round."
EXCLUDED = Excluded(decontaminate.excluded_source(MBPP_TASK, "mbpp/1", TEXT))


def match(source):
    return EXCLUDED.match(fingerprint(dedent(source).strip() + "\n"))


def test_renamed_and_reformatted_copies_are_found():
    copy = '''
        def strip_it(text: str, unwanted: str) -> str:
            """Another docstring."""
            result = ""
            for letter in text:  # one by one
                if letter != unwanted: result = result + letter
            return result[::-1]
    '''
    assert match(copy) == Match("mbpp/1", "same normal form")


def test_slightly_changed_copies_are_found():
    copy = """
        def clean(text, unwanted):
            result = ""
            if not text:
                return None
            for letter in text:
                if letter != unwanted:
                    result = result + letter
            return result
    """
    assert match(copy) == Match("mbpp/1", "near copy")


def test_a_function_of_the_same_name_and_arity_is_the_same_task():
    other = "def remove_dirty(a, b):\n    return ''.join(a.split(b))[::-1]"
    assert match(other) == Match("mbpp/1", "same name and arity")
    assert match(other.replace("b):", "b, c):")) is None
    special = Excluded([fingerprint("def __init__(self, x):\n    self.x = x\n", "mbpp/2")])
    assert special.match(fingerprint("def __init__(self, y):\n    self.z = y + 1\n")) is None


def test_a_function_whose_docstring_says_what_the_task_says_is_the_same_task():
    said = '''
        def undirty(a, b):
            """Remove every occurrence of a given dirty character and turn the rest round."""
            return "".join(reversed(a.replace(b, "")))
    '''
    assert match(said) == Match("mbpp/1", "same intent")
    assert match(said.replace("a given dirty character", "another thing")) is None


def test_other_functions_are_not_found():
    other = """
        def first_index(items, wanted):
            for index, item in enumerate(items):
                if item == wanted:
                    return index
            return -1
    """
    assert match(other) is None


def test_what_is_shipped_excludes_the_benchmarks_the_examples_and_the_toy_tasks():
    shipped = decontaminate.shipped()
    labels = {f.label.split("/")[0] for f in shipped.fingerprints}
    assert labels == {"mbpp", "HumanEval", "examples", "toy"}
    tasks = {int(f.label.split("/")[1]) for f in shipped.fingerprints if f.label.startswith("mbpp/")}
    assert tasks.isdisjoint(decontaminate.MBPP_TRAIN)
    assert set(range(1, 601)) - tasks == set()
    assert all(shipped.match(fingerprint(task.source)) for task in toy.TASKS)


def test_the_shipped_hashes_are_those_of_the_files(tmp_path):
    mbpp, human_eval, out = tmp_path / "mbpp.jsonl", tmp_path / "he.jsonl", tmp_path / "hashes.jsonl.gz"
    mbpp.write_text(
        json.dumps({"task_id": 12, "text": TEXT, "code": MBPP_TASK.replace("\n", "\r\n"), "test_list": []}) + "\n"
        + json.dumps({"task_id": 700, "text": "", "code": "def allowed(x):\n    return x + 700\n", "test_list": []})
    )  # fmt: skip
    human_eval.write_text(
        json.dumps({"task_id": "HumanEval/0", "prompt": "def f(x):\n", "canonical_solution": "    return x + 1\n"})
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.py").write_text("class A:\n    def g(self):\n        return 1\n")
    decontaminate.write_shipped(mbpp, human_eval, tmp_path / "mine", out=out)
    rows = decontaminate.json_lines(out)
    assert [row["label"] for row in rows] == ["mbpp/12", "HumanEval/0", "mine/a.py"]
    assert set(rows[0]) == {"label", "form", "header", "tokens", "grams", "words"}
    assert rows[0]["form"] == fingerprint(MBPP_TASK).form
    assert rows[0]["words"] == sorted(fingerprint(MBPP_TASK, intent=TEXT).words) != []


@pytest.mark.parametrize("field", ["code", "fixed", "source"])
def test_a_file_of_tasks_of_any_of_the_known_forms_can_be_excluded(tmp_path, field):
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"id": "one", "intent": TEXT, field: MBPP_TASK}))
    found = Excluded(decontaminate.task_functions(tmp_path / "tasks.jsonl"))
    assert found.match(fingerprint(MBPP_TASK)) == Match("tasks/one", "same normal form")


def test_normal_forms_differ_where_behavior_does():
    different = [
        "def f(x):\n    return max(x)\n",
        "def f(x):\n    return min(x)\n",
        "def f(x):\n    return max(x, x)\n",
        "def f(x, y):\n    return max(x)\n",
        "def f(x):\n    return x.max(x)\n",
        "def f(x):\n    return 'max'\n",
        "async def f(x):\n    return max(x)\n",
    ]
    assert len({fingerprint(source).form for source in different}) == len(different)
    assert all(ast.parse(source) for source in different)
