"""Functions as people changed them from one release to the next."""

from pathlib import PurePosixPath

import pytest

from kelp.data.corpus.context import Module
from kelp.data.corpus.history import changes, context_suffices
from kelp.data.record import Record

BEFORE = '''import os

LIMIT = 3


class Queue:
    def push(self, item):
        """Put an item in."""
        self.items.append(item)
        if len(self.items) > LIMIT:
            self.drop()

    def drop(self):
        self.items.pop()
'''


def release(text, version="1"):
    return [Module(f"pack-{version}", PurePosixPath("pack/queue.py"), text, "MIT")]


def found(*texts):
    return list(changes([release(text, str(number)) for number, text in enumerate(texts)], "pack"))


def test_a_small_change_is_the_later_function_with_the_earlier_one():
    (change,) = found(BEFORE, BEFORE.replace("> LIMIT", ">= LIMIT"))
    assert (change.name, change.project, change.license) == ("push", "pack", "MIT")
    assert change.intent == "Put an item in."
    assert change.origin == "pack-1/pack/queue.py"
    assert change.source.startswith("def push(self, item):\n    ") and ">= LIMIT" in change.source
    assert change.before == change.source.replace(">= LIMIT", "> LIMIT")


def test_each_release_is_held_against_the_one_before_it():
    later = BEFORE.replace("> LIMIT", ">= LIMIT")
    last = later.replace("pop()", "pop(0)")
    assert [(c.name, c.origin) for c in found(BEFORE, later, later, last)] == [
        ("push", "pack-1/pack/queue.py"),
        ("drop", "pack-3/pack/queue.py"),
    ]


def test_one_of_two_functions_of_one_name_is_held_against_itself():
    text = BEFORE + "\n    def drop(self, index=0):\n        self.items.remove(index)\n"
    (change,) = found(text, text.replace("remove(index)", "pop(index)"))
    assert change.before == "def drop(self, index=0):\n    self.items.remove(index)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "\n"),
        ("pop()", "pop()  # the last"),
        ("Put an item in.", "Put an item at the end."),
        ("def push(self, item)", "def push(self, item, times=1)"),
        ("item", "thing"),
        ("self.drop()", "self.shrink()"),  # a method that nothing spoke of before
        ("self.drop()", "self.drop(reason=LIMIT)"),
        ("self.drop()", "raise ValueError(f'{item} is too many')"),  # another style
        ("self.items.append(item)", "self.items.append(os.path.join(*[str(LIMIT) for each in self.items], 'a', 'b'))"),
        ("class", "clas"),
    ],
)
def test_no_change_to_learn_from(old, new):
    assert found(BEFORE, BEFORE.replace(old, new)) == []


def test_new_wording_is_no_change_to_learn_from():
    text = BEFORE.replace("self.items.pop()", "raise OSError('no more')")
    assert found(text, text.replace("'no more'", "u'no more'")) == []
    assert found(text, text.replace("no more", 'it\'s "over"')) == []
    assert len(found(text, text.replace("OSError", "ValueError"))) == 1


def test_what_is_done_everywhere_is_left_out():
    text = "".join(f"def f{n}(x):\n    return [x] * {n + 2}\n\n\n" for n in range(3))
    assert found(text, text.replace("[x]", "[x, x]")) == []
    assert len(found(text, text.replace("[x] * 2", "[x, x] * 2"))) == 1
    assert len(found(text, text.replace("[x] * 2", "[x, x] * 2").replace("[x] * 3", "[x, x] * 3"))) == 2


def test_names_of_builtins_their_methods_and_its_own_may_be_new():
    assert len(found(BEFORE, BEFORE.replace("append(item)", "append(item.strip())"))) == 1
    assert len(found(BEFORE, BEFORE.replace("append(item)", "append(str(item))"))) == 1
    assert len(found(BEFORE, BEFORE.replace("self.items.pop()", "last = self.items.pop()\n        print(last)"))) == 1


@pytest.mark.parametrize(
    ("before", "known"),
    [
        ("return queue.items[0]", True),
        ("return LIMIT", True),  # of the context
        ("return gone(queue)", False),
        ("return queue.gone", False),  # an attribute that its argument does not have any more
        ("return queue.strip()", True),
        ("return queue.items.gone", True),  # who knows
        ("return queue.size", True),  # in a test
    ],
)
def test_tests_speak_of_a_change_where_its_earlier_function_reads_what_there_is(before, known):
    record = Record(
        "def f(queue):\n    return queue.items\n", "f", context="LIMIT = 3\n", before=f"def f(queue):\n    {before}\n",
        asserts=("assert f(SimpleNamespace(items=[], size=1)) == []",),
    )  # fmt: skip
    assert context_suffices(record) is known
