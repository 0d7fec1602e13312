"""The judge: decides which tests have passed, in a thread of its own that the program under test cannot reach.

`server.py` executes this file into a namespace that no module, class or function outside refers to, with builtins of
its own; what it calls are functions of C, bound before any program is loaded.  So there is nothing here that a
program could patch.  Its frames, where the run's secret is, are on no stack that a program runs on, and an audit hook,
which cannot be removed, refuses the ways around that: asking the garbage collector, other threads' frames, tracing.
Code of the program that ran on this thread would find those frames, so nothing here calls any: no destructor, since
what comes from the program is kept until the stage lets go of it; no garbage collection; no comparison, hash or truth
of values that are not of built-in types, nor of containers that another thread could change meanwhile.

A verdict is a line with the secret on the pipe.  The program's thread (`stage.py`) reports everything else without
one: it may say what it likes but that a test has passed.
"""

from __future__ import annotations

import _thread
import builtins
import errno
import gc
import operator
import os
import sys
import time
import types
from _json import encode_basestring_ascii
from functools import partial
from typing import Any

_ident, _write, _exit, _urandom, _now = _thread.get_ident, os.write, os._exit, os.urandom, time.perf_counter
_frames, _eval, _equal, _collect_off = sys._current_frames, eval, operator.eq, gc.disable
_add_hook, _true_builtins = sys.addaudithook, vars(builtins)
_Function, _Method, _Partial, _id = types.FunctionType, types.MethodType, partial, id
_PLAIN = (int, str, float, bool, bytes, complex, type(None))
_SIZED = (str, list, tuple, dict)
_GROUPS = (list, tuple, set, frozenset)
_COMPARE: dict[str, Any] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda left, right: left in right, "not in": lambda left, right: left not in right,
}  # fmt: skip

# What a program may not ask the interpreter for, from any thread but the judge's ...
_NEVER = frozenset(
    "gc.get_objects gc.get_referrers gc.get_referents sys._current_frames sys._current_exceptions sys.addaudithook "
    "sys.monitoring.register_callback cpython.PyInterpreterState_New ctypes.dlsym ctypes.dlsym/handle ctypes.cdata "
    "ctypes.cdata/buffer ctypes.string_at ctypes.wstring_at ctypes.addressof ctypes.call_function".split()
)
# ... from the main thread, where the stage is, or where one thread can trace all (since 3.12) from any ...
_OF_ALL_THREADS = hasattr(sys, "_settraceallthreads")
_NOT_ON_STAGE = frozenset(("sys.settrace", "sys.setprofile"))
# ... and from the judge's own thread, where nothing but a destructor of the program could ask.
_NOT_HERE = frozenset(("sys._getframe", "object.__getattr__", "sys.settrace", "sys.setprofile"))
_WATCHED = _NEVER | _NOT_ON_STAGE | _NOT_HERE | {"ctypes.dlopen"}


class _Raised(Exception):
    """What the stage called has raised: its argument."""


class _Foreign(Exception):
    """A value that is not of built-in types all through."""


class _Unmet(Exception):
    """An assertion that does not hold: left side, its value, how it compares to what, right side or None."""


def plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is of built-in types all through, so that comparing it runs nobody's code."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth > 20:
        return False
    if kind in _GROUPS:
        return all(plain(part, depth + 1) for part in value)
    return kind is dict and all(plain(k, depth + 1) and plain(v, depth + 1) for k, v in value.items())


def decoys() -> list[Any]:
    """Values of which no two are equal: what equals two of them says that of anything."""
    n = int.from_bytes(_urandom(6), "big") + 1000
    few = 2 + n % 50
    numbers = [few, few + 1, few + 60, n, -n, n + 0.5, -n - 0.5]
    texts = [str(n), hex(n), b"%d" % n, ""]
    return [object(), True, False, None, *numbers, *texts, [n], [], (n,), (), {n: n}, {}, {n}, frozenset((n, few))]


def _like(value: Any, leaf: Any) -> Any:
    """A value of this one's shape, with other things in it."""
    if type(value) in (list, tuple):
        return type(value)([_like(part, leaf) for part in value])
    return {key: _like(part, leaf) for key, part in value.items()} if type(value) is dict else leaf


def fair(value: Any, expected: Any, equal: Any = _equal) -> bool:
    """Whether a value can be told from others by `==`: what equals two unlike things says so of anything."""
    if plain(value):
        return True
    equals: list[Any] = []
    alike = [_like(expected, (_urandom(6), number)) for number in range(2 if expected and plain(expected) else 0)]
    for decoy in decoys() + [other for other in alike if other != expected]:
        try:
            if equal(value, decoy):
                equals.append(decoy)
        except Exception:
            continue
    full = [decoy for decoy in equals if type(decoy) not in _SIZED or decoy]  # what is empty may equal all that is
    return len(full) + (len(full) < len(equals)) < 2


def same(left: Any, right: Any, word: str = "==") -> Any:
    """`left == right` as the asserts of test files ask it; False where a side is not fair."""
    holds = left == right if word == "==" else left in right
    return holds if fair(left, right) and (word == "in" or fair(right, left)) else False


def snapshot(namespaces: dict[str, Any]) -> list[tuple[str, Any, list[str], list[int]]]:
    """What functions and classes the namespaces hold now, to be compared by `_changed`."""
    found = []
    for label, namespace in namespaces.items():
        names = [name for name, value in namespace.items() if callable(value)]
        found.append((label, namespace, names, _ids(namespace, names)))
    return found


def _ids(namespace: Any, names: list[str]) -> list[int]:
    if not {*map(type, namespace)} <= {str}:
        return []  # a key of the program's could say that it is any of the names
    values = [namespace.get(name) for name in names]
    return [id(value) for value in values] + [id(value.__code__) for value in values if type(value) is _Function]


def _changed(before: list[tuple[str, Any, list[str], list[int]]]) -> str | None:
    """The first name that stands for something else now."""
    for label, namespace, names, ids in before:
        now = _ids(namespace, names)
        if now != ids:
            different = [name for name, old, new in zip(names, ids, now) if old != new]
            return label + "." + (different[0] if different else "*")
    return None


def judge(secret: str, pipe: int, stage: Any, run: Any, before: Any) -> None:
    """Be the judge of one run; ends the process.

    `run` (a `child.Run`) says what it consists of and what was known before the program was loaded; `before` is a
    snapshot of what must not have changed when it ends.
    """
    here, main = _ident(), run.main
    looking = False
    tasks, spent, go, ready = stage.tasks, stage.spent, stage.go, stage.ready
    say, places, trusted, program, scratch, tests, skips, runs, inner_test, words = (
        run.say, run.places, run.trusted, run.program, run.scratch, run.tests, run.skips, run.runs, run.inner_test,
        run.words,
    )  # fmt: skip
    kept: Any = [[]]  # what came from the program since it was last let go of, in a list of its own
    bottom: Any = None
    opened: Any = None  # the frame of the guard that is calling a test
    calling: Any = None  # the test; None where its code is not that of a test file
    name = ""
    elsewhere = ""  # the file of the code that has spoken and may not
    collected = finished = False

    def hook(event: str, arguments: Any) -> None:
        if event not in _WATCHED:
            return
        if event in _NOT_HERE and (looking or _ident() != here):
            refused = event in _NOT_ON_STAGE and (_OF_ALL_THREADS or _ident() == main)
        elif event in _NEVER:
            refused = _ident() != here
        else:
            refused = event != "ctypes.dlopen" or arguments[0] is not None
        if refused:
            raise PermissionError(errno.EPERM, event + " is not allowed in the sandbox")

    def send(event: str, **facts: str) -> None:
        text = "".join(f',"{key}":{encode_basestring_ascii(value)}' for key, value in facts.items())
        _write(pipe, f'{secret}{{"event":"{event}"{text}}}\n'.encode())

    def stop(what: str) -> None:
        send("tampered", what=what)
        _exit(70)

    def keep(thing: Any) -> Any:
        kept[0].append(thing)
        return thing

    def let_go() -> None:
        """Leave to the stage what nothing here needs any more.  The list is at no time this thread's alone to end."""
        spent.append(kept.pop())
        kept.append([])

    def position() -> tuple[Any, str, Any]:
        """The frame that speaks, what it says, and the facts: from its variables, which no other thread can get at."""
        nonlocal looking, elsewhere
        looking = True
        top: Any = _frames()[main]
        speaker = top.f_back
        word, facts = "", ()
        if top.f_code is say and speaker is not None:
            word, facts = places.get((_id(speaker.f_code), speaker.f_lineno), ""), keep(top.f_locals["facts"])
        if word not in ("returned", "raised", "left", "threw"):  # nobody but the tests' machinery may be at work
            below = speaker
            while below is not None:
                file = below.f_code.co_filename
                if type(file) is not str or file == program or file.startswith(scratch) or not file.startswith(trusted):
                    word, elsewhere = "", file if type(file) is str else "a file whose name is no plain text"
                below = below.f_back
        top = below = None
        looking = False
        return speaker, word, facts

    def through_program(traceback: Any) -> bool:
        nonlocal looking
        found = False
        while traceback is not None:
            looking = True
            found |= traceback.tb_frame.f_code.co_filename == program
            looking = False
            traceback = traceback.tb_next
        return found

    def perform(function: Any, *arguments: Any, **named: Any) -> Any:
        """What the function gives when the stage calls it.  Raises _Raised."""
        nonlocal opened, calling, name, collected, finished
        task = (function, arguments, named)
        tasks.append(task)
        while True:
            go.release()
            ready.acquire()
            _collect_off()
            speaker, word, facts = position()
            if word in ("returned", "raised") and speaker is bottom:
                if facts[0] is not task:
                    stop("a result was reported that is not the one asked for")
                if word == "raised":
                    raise _Raised(facts[1])
                return facts[1]
            if word == "enter" and opened is None:
                opened, name, calling = speaker, text(facts[0]), test_in(facts[1], facts[2])
                if calling is None:
                    send("unknown", name=name)
            elif word in ("left", "threw") and speaker is opened:
                opened = None
                if calling is None:
                    pass
                elif word == "left":
                    if (changed := changed_word(calling)) is not None:
                        stop(changed)
                    send("verdict", name=name, status="pass")
                elif any(type(facts[0]) is skip for skip in skips) and not through_program(facts[0].__traceback__):
                    send("verdict", name=name, status="skip")
            elif word == "collected" and not collected and opened is None:
                collected = True
                for test in texts(facts[0]):
                    send("test", name=test)
                for test in texts(facts[1]):
                    send("verdict", name=test, status="skip")
            elif word == "skipped" and opened is None:
                send("verdict", name=text(facts[0]), status="skip")
            elif word == "finish" and opened is None:
                finished = True
            else:
                if word:
                    stop("the tests were reported out of turn (" + word + ")")
                stop("code that is not theirs took part in running the tests (" + (elsewhere or "unknown file") + ")")
            speaker = facts = None
            let_go()

    def text(value: Any) -> str:
        if type(value) is not str:
            stop("the name of a test is no plain text")
        return value

    def texts(values: Any) -> list[str]:
        return [text(value) for value in keep(list(values) if type(values) is list else [None])]

    def entry(namespace: Any, word: str) -> Any:
        """What a dictionary has under a name: `get` would ask keys of the program's own types whether they are it."""
        for key, value in keep(list(namespace.items())):
            if type(key) is str and key == word:
                return value
        return None

    def test_in(test: Any, by: Any) -> Any:
        """The function of the tests that this is or wraps, where it is called as one; else None."""
        nonlocal looking
        if by is not None and not (type(by) is _Method and any(by.__func__ is function for function in runs)):
            return None
        for _ in range(20):
            if type(test) is _Partial:
                test = keep(test.func)  # another thread can put another there
            if type(test) is _Method:
                test = test.__func__
            if type(test) is not _Function:
                return None
            looking = True
            code = keep(test.__code__)
            looking = False
            if _id(code) in tests:
                return test
            if code.co_filename == program:
                return None
            inner = entry(test.__dict__, "hypothesis")
            test = entry(test.__dict__, "__wrapped__") if inner is None else entry(inner_test(inner), "inner_test")
        return None

    def changed_word(test: Any) -> str | None:
        """What stands for something else in the test's module, which anybody can change, than its file means."""
        nonlocal looking
        looking = True
        file = keep(test.__code__).co_filename
        looking = False
        if type(file) is not str:
            return "a test's file has a name that is no plain text"
        meant, builtin = words.get(file, ({}, ()))
        where = " of the test file was replaced while the tests ran (" + file + ")"
        for key, value in keep(list(test.__globals__.items())):
            if type(key) is not str:
                return "a name that is no plain text" + where
            if key in builtin or (key in meant and value is not meant[key]):
                return key + where
        return None if test.__builtins__ is _true_builtins else "__builtins__" + where

    def run_test(test: Any, namespace: Any) -> bool:
        """Run one bare assert (an `asserts.Test`) and say how it went; whether it held."""
        perform(run.begin, test.text, test.sides, namespace)
        began, note = _now(), None
        try:
            for kind, what, step_note in test.steps:
                note = step_note
                if kind == "check":
                    check(what, namespace)
                else:
                    perform(_eval, what, namespace)
        except _Unmet as unmet:
            perform(run.unmet, test.text, _now() - began, note, namespace, *unmet.args)
            return False
        except _Raised as raised:
            perform(run.raised, test.text, _now() - began, test.sides, namespace, raised.args[0])
            return False
        send("verdict", name=test.text, status="pass")
        perform(run.ended, test.text, _now() - began, {})
        return True

    def check(what: Any, namespace: Any) -> None:
        """Evaluate every side once, from left to right, as the statement would.  Raises _Unmet, _Raised."""
        kind, *parts = what
        if kind == "and":
            for part in parts:
                check(part, namespace)
        elif kind == "compare":
            left_side, *rest = parts
            left = value_of(left_side, namespace)
            for word, right_side in rest:
                right = value_of(right_side, namespace)
                if not compare(word, left, right, left_side, right_side):
                    raise _Unmet(left_side.names, left, word, right, right_side.names)
                left_side, left = right_side, right
        elif kind == "close":
            function, got_side, expected_side, rest, options = parts
            got, expected = value_of(got_side, namespace), value_of(expected_side, namespace)
            others = [perform(_eval, code, namespace) for code in rest]
            named = {name: perform(_eval, code, namespace) for name, code in options}
            predicate = perform(_eval, function, namespace)
            if not true(perform(predicate, got, expected, *others, **named)):
                raise _Unmet(got_side.names, got, "about", expected, expected_side.names)
        else:
            value = value_of(parts[0], namespace)
            if true(value) != (kind == "true"):
                raise _Unmet(parts[0].names, value, "is", kind == "true", None)

    def value_of(side: Any, namespace: Any) -> Any:
        return _eval(side.code, {}) if side.literal else perform(_eval, side.code, namespace)

    def true(value: Any) -> bool:
        return value is True or (value is not False and perform(bool, value) is True)

    def copied(value: Any, depth: int = 0) -> Any:
        """A value of built-in types, as nobody else can change it.  Raises _Foreign where it is not of such types."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if depth > 20 or (kind not in _GROUPS and kind is not dict):
            raise _Foreign
        parts = keep(list(value.items() if kind is dict else value))
        if kind is dict:
            return {copied(key, depth + 1): copied(part, depth + 1) for key, part in parts}
        return kind([copied(part, depth + 1) for part in parts])

    def compare(word: str, left: Any, right: Any, left_side: Any, right_side: Any) -> bool:
        if word in ("is", "is not"):
            return (left is right) == (word == "is")
        function = _COMPARE[word]
        try:
            return bool(function(copied(left), copied(right)))  # here, where the program has no say
        except Exception:  # it goes wrong on the stage too, where the program may see the traceback
            pass
        if not true(perform(function, left, right)):
            return False
        if word not in ("==", "in"):
            return True
        sides = ((left, right, left_side.wide), (right, left, right_side.wide))
        return all(wide or fair(value, other, asked) for value, other, wide in sides)

    def asked(left: Any, right: Any) -> bool:
        return true(perform(_equal, left, right))

    def run_example(test: str, function: Any) -> bool:
        """Run the examples of one docstring; whether they held."""
        perform(run.begin, test, (), None)
        began = _now()
        try:
            facts = perform(function)
        except _Raised as raised:
            perform(run.raised, test, _now() - began, (), None, raised.args[0])
            return False
        passed = type(facts) is dict and not facts
        if passed:
            send("verdict", name=test, status="pass")
        perform(run.ended, test, _now() - began, facts)
        return passed

    def play() -> None:
        """The run from beginning to end, in the suite's order but for the test to run first."""
        for test in run.asserts:
            send("test", name=test.text)
        namespace = perform(run.load)
        if namespace is None:
            return
        if run.calls is not None:
            perform(run.calls, namespace)
            return
        parts: list[Any] = [(test.text, run_test, test, namespace) for test in run.asserts]
        found = perform(run.examples)
        if type(found) is not list or any(type(example) is not tuple for example in keep(list(found))):
            stop("the examples of the docstrings are not in the form that they were found in")
        examples: list[Any] = [(text(example[0]), run_example, *example) for example in keep(list(found))]
        for test, *_ in examples:
            send("test", name=test)
        for group in (parts, examples):
            group.sort(key=lambda part: part[0] != run.first)
        parts = examples + parts if examples and examples[0][0] == run.first else parts + examples
        files_first = run.first is not None and all(part[0] != run.first for part in parts)
        stopped = False
        if run.files is not None and files_first:
            stopped = perform(run.files, False, False) is True
        for _, function, *arguments in parts:
            if not (stopped or run.rehearsal):
                stopped = not function(*arguments) and run.stop_on_failure
                let_go()
        if run.files is not None and not files_first:  # after a stop its tests need not run but still count
            perform(run.files, stopped, True)
        if not finished:  # else pytest has printed its summary since, which nobody needs
            perform(run.flush)

    try:
        _add_hook(hook)
        ready.acquire()
        looking = True
        bottom = _frames()[main].f_back
        looking = False
        play()
        looking = True
        what = _changed(before)
        if what is not None:
            stop(what + " was replaced while the tests ran")
        send("done")
        _exit(0)
    except BaseException:
        _exit(71)
