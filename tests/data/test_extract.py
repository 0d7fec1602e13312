"""From modules to records: which functions are taken, with which intent, and with what they need to run."""

from pathlib import PurePosixPath
from textwrap import dedent

import pytest

from kelp.data.corpus.context import Module
from kelp.data.corpus.extract import Dropped, functions_of
from kelp.data.record import Record


def found_in(**files):
    """Records, and reasons of what is dropped, of the modules of one project."""
    modules = [Module("project", PurePosixPath(f"{name}.py"), dedent(text)) for name, text in files.items()]
    found = list(functions_of(modules, "project"))
    return [f for f in found if isinstance(f, Record)], [f.reason for f in found if isinstance(f, Dropped)]


def context_of(function, text, **others):
    """The context of one function of module `package/main.py`, whose siblings are `others`."""
    texts = {"main": text, **others}
    modules = [Module("package-1", PurePosixPath(f"package/{n}.py"), dedent(t)) for n, t in texts.items()]
    return next(f.context for f in functions_of(modules, "package") if isinstance(f, Record) and f.name == function)


def test_functions_and_methods_are_taken_out_dedented_with_the_first_sentence_as_intent():
    (half, push), dropped = found_in(
        a='''
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
    )
    assert half.intent == "Divide by two, rounding down."
    assert half.source.startswith('def half(n):\n    """Divide by two,\n')
    assert half.context == ""
    assert (half.origin, half.project) == ("project/a.py", "project")
    assert push.source == 'def push(self, item):\n    text = "one"\n    self.items.append((item, text))\n'
    assert dropped == []


def test_stubs_long_functions_and_broken_files_are_left_out():
    records, dropped = found_in(
        a="""
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
        long="def long(x):\n" + "    x += 1\n" * 250,
        broken="def f(:\n",
    )
    assert records == []
    assert dropped == ["stub"] * 6 + ["longer than 200 lines", "module does not parse"]


def test_a_function_whose_strings_would_change_with_its_margin_is_left_out():
    body = "class A:\n    def f(self):\n        return '''one\n    two''' + self.x\n"
    assert found_in(a=body) == ([], ["does not compile on its own"])


def test_projects_are_held_out_whole_and_some_are():
    module = Module("p", PurePosixPath("a.py"), "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x + 2\n")
    parts = {}
    for number in range(200):
        for record in functions_of([module], f"project{number}"):
            parts.setdefault(record.project, set()).add(record.split)
    assert all(len(splits) == 1 for splits in parts.values())
    assert 2 <= sum(splits == {"valid"} for splits in parts.values()) <= 30


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
