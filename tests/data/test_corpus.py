"""From files to records: which functions are taken, with which intent and context, and what is kept out."""

import ast
import json
import zipfile
from pathlib import PurePosixPath
from textwrap import dedent

import pytest

from kelp.data import corpus, decontaminate, toy
from kelp.data.context import Library, Module
from kelp.data.record import Record


def records_of(tmp_path, files, exclude=None):
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    modules = corpus.directory(tmp_path / "project")
    return corpus.build_corpus(modules, exclude=exclude or decontaminate.Excluded([]), jobs=1)


def context_of(function, text, **others):
    """The context of one function of module `package/main.py`, whose siblings are `others`."""
    texts = {"main": text, **others}
    modules = {n: Module("package-1", PurePosixPath(f"package/{n}.py"), dedent(t)) for n, t in texts.items()}
    library = Library(modules.values())
    names = library.names(modules["main"])
    node = next(n for n in names.tree.body if getattr(n, "name", "") == function)
    return corpus._record(modules["main"], library, node).context


def test_functions_and_methods_are_taken_out_dedented_with_the_first_sentence_as_intent(tmp_path):
    records, report = records_of(
        tmp_path,
        {
            "a.py": '''
                def half(n):
                    """Divide by two,
                    rounding down. Fails on text.

                    More about it.
                    """
                    return n // 2

                class Stack:
                    def push(self, item):
                        text = "one"
                        self.items.append((item, text))
            '''
        },
    )
    half, push = records
    assert half.intent == "Divide by two, rounding down."
    assert half.source.startswith('def half(n):\n    """Divide by two,\n')
    assert half.context == ""
    assert half.origin == "project/a.py"
    assert push.source == 'def push(self, item):\n    text = "one"\n    self.items.append((item, text))\n'
    assert (report.functions, report.kept, report.with_intent) == (2, 2, 1)


def test_stubs_tests_long_functions_and_broken_files_are_left_out(tmp_path):
    records, report = records_of(
        tmp_path,
        {
            "a.py": """
                from typing import overload

                def nothing(): pass
                def later(): ...
                def documented():
                    "Only words."
                def refused(x):
                    raise NotImplementedError(x)
                def same(self):
                    return self.x
                @overload
                def typed(x: int) -> int: return x + 1
            """,
            "long.py": "def long(x):\n" + "    x += 1\n" * 250,
            "broken.py": "def f(:\n",
            "tests/helpers.py": "def f(x):\n    return x + 1\n",
            "test_a.py": "def f(x):\n    return x + 1\n",
        },
    )
    assert records == []
    assert report.dropped == {"stub": 6, "longer than 200 lines": 1, "module does not parse": 1}


def test_a_function_whose_strings_would_change_with_its_margin_is_left_out(tmp_path):
    body = "class A:\n    def f(self):\n        return '''one\n    two''' + self.x\n"
    _, report = records_of(tmp_path, {"a.py": body})
    assert report.dropped == {"does not compile on its own": 1}


def test_copies_are_kept_once_whatever_their_names_layout_and_annotations(tmp_path):
    records, report = records_of(
        tmp_path,
        {
            "a.py": "def total(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\n",
            "b.py": '''
                def sum_up(values: list[int]) -> int:
                    """Add them up."""
                    result: int = 0  # so far
                    for value in (values): result += value
                    return result
            ''',
            "c.py": "def total(xs):\n    s = 1\n    for x in xs:\n        s += x\n    return s\n",
        },
    )
    assert [r.origin for r in records] == ["project/a.py", "project/c.py"]
    assert report.dropped == {"copy of another function": 1}


def test_context_is_what_the_function_needs_and_no_more():
    text = """
        import math, os
        from itertools import chain as join, islice
        LIMIT = 10
        OTHER = 11

        def helper(x):
            '''Explained.'''
            return min(x, LIMIT)

        def f(xs):
            return helper(sum(join(xs))) + math.pi

        def alone(x):
            return [len(y) for y in x]
    """
    assert context_of("f", text) == (
        "from itertools import chain as join\nimport math\nLIMIT = 10\ndef helper(x):\n    return min(x, LIMIT)\n"
    )
    assert context_of("alone", text) == ""


def test_context_follows_imports_through_the_package():
    text = "from .util import *\nfrom package.base import scale\ndef f(x):\n    return scale(x) + twice(x)\n"
    util = "def twice(x):\n    return x * FACTOR\nFACTOR = 2\n"
    base = "from .other import scale\n"
    other = "def scale(x):\n    return x * 10\n"
    context = context_of("f", text, util=util, base=base, other=other)
    assert context == "def scale(x):\n    return x * 10\nFACTOR = 2\ndef twice(x):\n    return x * FACTOR\n"


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("import numpy\ndef f(x):\n    return numpy.sum(x)\n", {}),
        ("def f(x):\n    return missing(x)\n", {}),
        ("from .util import missing\ndef f(x):\n    return missing(x)\n", {"util": ""}),
        (
            "from .one import a\nfrom .two import b\ndef f(x):\n    return a(x) + b(x)\n",
            {"one": "K = 1\ndef a(x):\n    return K + x\n", "two": "K = 2\ndef b(x):\n    return K * x\n"},
        ),
    ],
    ids=["third party", "unknown", "unknown in a sibling", "two meanings of one name"],
)
def test_context_is_none_where_names_cannot_be_resolved(text, others):
    assert context_of("f", text, **others) is None


def test_context_of_mutually_recursive_helpers_runs():
    text = """
        @staticmethod
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n > 0 and even(n - 1)
        def f(n):
            return even(n)
    """
    namespace = {}
    exec(context_of("f", text) + "def f(n):\n    return even(n)\n", namespace)
    assert namespace["f"](10) is True


def test_context_never_holds_the_function_itself():
    text = "def ping(n):\n    return n and pong(n - 1)\ndef pong(n):\n    return n and ping(n - 1)\n"
    assert context_of("ping", text) == "def pong(n):\n    return n and ping(n - 1)\n"


MBPP_TASK = """def remove_dirty(string, char):
    out = ''
    for c in string:
        if c != char:
            out = out + c
    return out[::-1]
"""


def test_renamed_reformatted_and_slightly_changed_copies_of_excluded_functions_are_dropped(tmp_path):
    exclude = decontaminate.Excluded(decontaminate.excluded_source(MBPP_TASK, "mbpp/1"))
    renamed = '''
        def strip_it(text: str, unwanted: str) -> str:
            """Another docstring."""
            result = ""
            for letter in text:  # one by one
                if letter != unwanted: result = result + letter
            return result[::-1]
    '''
    changed = """
        def clean(text, unwanted):
            result = ""
            if not text:
                return None
            for letter in text:
                if letter != unwanted:
                    result = result + letter
            return result
    """
    unrelated = """
        def first_index(items, wanted):
            for index, item in enumerate(items):
                if item == wanted:
                    return index
            return -1
    """
    records, report = records_of(tmp_path, {"a.py": renamed, "b.py": changed, "c.py": unrelated}, exclude)
    assert [r.name for r in records] == ["first_index"]
    assert report.contaminated == [
        ("project/a.py:strip_it", "mbpp/1", "same normal form"),
        ("project/b.py:clean", "mbpp/1", "near copy"),
    ]


def test_a_function_of_the_same_name_and_arity_is_dropped_for_less_likeness():
    exclude = decontaminate.Excluded(decontaminate.excluded_source(MBPP_TASK, "mbpp/1"))
    body = "(a, b):\n    out = ''\n    for c in a:\n        if c in b:\n            continue\n        out = out + c\n"
    match = exclude.match(decontaminate.fingerprint("def remove_dirty" + body))
    assert match == decontaminate.Match("mbpp/1", "same header")
    assert exclude.match(decontaminate.fingerprint("def cleaned" + body)) is None


def test_what_is_shipped_excludes_the_benchmarks_and_the_toy_tasks(tmp_path):
    shipped = decontaminate.shipped()
    labels = {f.label.split("/")[0] for f in shipped.fingerprints}
    assert labels == {"mbpp", "HumanEval", "toy"}
    tasks = {int(f.label.split("/")[1]) for f in shipped.fingerprints if f.label.startswith("mbpp/")}
    assert tasks.isdisjoint(decontaminate.MBPP_TRAIN)
    assert set(range(1, 601)) - tasks == set()
    sources = {f"{task.name}.py": task.source for task in toy.TASKS}
    records, _ = records_of(tmp_path, sources, shipped)
    assert records == []


def test_the_shipped_hashes_are_those_of_the_benchmark_files(tmp_path):
    mbpp, human_eval, out = tmp_path / "mbpp.jsonl", tmp_path / "he.jsonl", tmp_path / "hashes.jsonl.gz"
    mbpp.write_text(
        json.dumps({"task_id": 12, "code": MBPP_TASK.replace("\n", "\r\n")}) + "\n"
        + json.dumps({"task_id": 700, "code": "def allowed(x):\n    return x + 700\n"})
    )  # fmt: skip
    human_eval.write_text(
        json.dumps({"task_id": "HumanEval/0", "prompt": "def f(x):\n", "canonical_solution": "    return x + 1\n"})
    )
    decontaminate.write_shipped(mbpp, human_eval, out)
    rows = decontaminate.json_lines(out)
    assert [row["label"] for row in rows] == ["mbpp/12", "HumanEval/0"]
    assert set(rows[0]) == {"label", "form", "header", "tokens", "grams"}
    assert rows[0]["form"] == decontaminate.fingerprint(MBPP_TASK).form


def test_a_wheel_in_the_cache_is_read_without_being_installed(tmp_path):
    with zipfile.ZipFile(tmp_path / "my_pack-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("my_pack/core.py", "import nowhere\ndef inc(x):\n    return x + 1\n")
        wheel.writestr("my_pack/extra/more.py", "def dec(x):\n    return x - 1\n")
        wheel.writestr("my_pack/tests/test_core.py", "def test(x):\n    return x + 2\n")
        wheel.writestr("my_pack-1.2.dist-info/METADATA", "Name: my-pack\nVersion: 1.2\nLicense-Expression: MIT\n\n")
    modules = list(corpus.package("my-pack==1.2", tmp_path))
    assert [m.origin for m in modules] == ["my-pack-1.2/my_pack/core.py", "my-pack-1.2/my_pack/extra/more.py"]
    assert {m.licence for m in modules} == {"MIT"}
    only = list(corpus.package("my-pack==1.2 my_pack/extra", tmp_path))
    assert [m.dotted for m in only] == ["my_pack.extra.more"]


def test_the_standard_library_is_taken_without_its_tests():
    origins = {m.origin.split("/", 1)[1]: m for m in corpus.stdlib()}
    assert "heapq.py" in origins and "json/decoder.py" in origins
    assert not any("test" in PurePosixPath(o).parts[:-1] or "site-packages" in o for o in origins)
    assert origins["heapq.py"].licence == "PSF-2.0"


def test_mbpp_training_tasks_keep_their_asserts_and_the_others_are_not_taken(tmp_path):
    rows = [
        {"task_id": n, "text": "Add one.", "code": "import math\r\ndef inc(x):\r\n  return math.floor(x) + 1",
         "test_list": ["assert inc(1) == 2"], "test_setup_code": ""}
        for n in (11, 555, 601)
    ]  # fmt: skip
    forbidden = {**rows[-1], "code": "def inc(x, y):\n  return x + y", "task_id": 602}  # HumanEval/53
    rows.append(forbidden)
    (tmp_path / "mbpp.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (record,) = corpus.mbpp_train(tmp_path / "mbpp.jsonl")
    assert record == Record(
        "def inc(x):\n  return math.floor(x) + 1\n", "inc", "Add one.", "import math\n", ("assert inc(1) == 2",),
        "mbpp-601/task.py", "CC-BY-4.0",
    )  # fmt: skip


def test_the_result_does_not_depend_on_the_number_of_processes_and_survives_the_disk(tmp_path):
    for n in range(20):
        (tmp_path / f"m{n:02}.py").write_text(f"def f{n}(x):\n    '''Doc é.'''\n    return x + {n % 7}\n")
    one, _ = corpus.build_corpus(corpus.directory(tmp_path), jobs=1)
    two, _ = corpus.build_corpus(corpus.directory(tmp_path), jobs=2)
    assert one == two
    assert len(one) == 7
    for name in ("records.jsonl", "records.jsonl.gz"):
        corpus.save(one, tmp_path / name)
        assert corpus.load(tmp_path / name) == one
    before = (tmp_path / "records.jsonl.gz").read_bytes()
    corpus.save(two, tmp_path / "records.jsonl.gz")
    assert (tmp_path / "records.jsonl.gz").read_bytes() == before


def test_a_bad_record_is_refused_with_its_place(tmp_path):
    with pytest.raises(ValueError, match="LF line ends"):
        Record("def f(): return 1", "f")
    with pytest.raises(ValueError, match="no assert"):
        Record("def f(): return 1\n", "f", asserts=("f() == 1",))
    (tmp_path / "r.jsonl").write_text('{"source": 3}\n')
    with pytest.raises(ValueError, match="line 1"):
        corpus.load(tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return x. And more.", "Return x."),
        ("Use e.g. Cython here. Then rest.", "Use e.g. Cython here."),
        ("\n   First line\n   second line.\n\n   Other paragraph.", "First line second line."),
        (">>> f(1)\n2", ""),
        ("word " * 100, "word " * 38 + "word ..."),
    ],
)
def test_the_intent_is_the_first_sentence(docstring, sentence):
    assert corpus.first_sentence(docstring) == sentence


def test_normal_forms_differ_where_behaviour_does():
    different = [
        "def f(x):\n    return max(x)\n",
        "def f(x):\n    return min(x)\n",
        "def f(x):\n    return max(x, x)\n",
        "def f(x, y):\n    return max(x)\n",
        "def f(x):\n    return x.max(x)\n",
        "def f(x):\n    return 'max'\n",
        "async def f(x):\n    return max(x)\n",
    ]
    assert len({decontaminate.fingerprint(source).form for source in different}) == len(different)
    assert all(ast.parse(source) for source in different)
