"""The judge: decides which tests have passed, in a thread of its own that the program under test cannot reach.

`server.py` executes this file into a namespace that no module, class or function outside refers to, with builtins of
its own.  The judge calls functions of C, bound before any program is loaded, and itself: nothing here can be patched.
Its frames, where the run's secret is, are on no stack that a program runs on, and an audit hook, which cannot be
removed, refuses the ways around that: asking the garbage collector, other threads' frames, tracing.

Code of the program that ran on this thread would find those frames, so nothing here calls any:

* no destructor: objects from the program are kept until the stage lets go of them, and no garbage is collected;
* no comparison, hash or truth of values that are not of built-in types, nor of containers that another thread could
  change meanwhile;
* no attribute of an object whose class is written in Python, since the program can put a property there.  So this file
  defines no class (`__subclasses__` finds any), and uses plain tuples and copies made before the program is loaded.

A verdict is a line with the secret on the pipe.  The program's thread (`stage.py`) reports everything else without
one: it can report anything except that a test has passed.
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
_traceback_of = vars(BaseException)["__traceback__"].__get__  # a subclass may have a property of that name
_Record = types.SimpleNamespace  # a type of C, whose attributes nobody can replace
_Function, _Method, _Partial, _id = types.FunctionType, types.MethodType, partial, id
_FIXED_BUILTINS = "__builtins__" in vars(types.FunctionType)  # since 3.10; before, those of the namespace at each call
_PLAIN = (int, str, float, bool, bytes, complex, type(None))
_SIZED = (str, list, tuple, dict)
_GROUPS = (list, tuple, set, frozenset)
_COMPARE: dict[str, Any] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda left, right: left in right, "not in": lambda left, right: left not in right,
}  # fmt: skip

# Requests to the interpreter that are refused to any thread but the judge's ...
_NEVER = frozenset(
    "gc.get_objects gc.get_referrers gc.get_referents sys._current_frames sys._current_exceptions sys.addaudithook "
    "sys.monitoring.register_callback cpython.PyInterpreterState_New ctypes.dlsym ctypes.dlsym/handle ctypes.cdata "
    "ctypes.cdata/buffer ctypes.string_at ctypes.wstring_at ctypes.addressof ctypes.call_function".split()
)
# ... to the main thread, where the stage is, or, where one thread can trace all (since 3.12), to any ...
_OF_ALL_THREADS = hasattr(sys, "_settraceallthreads")
_NOT_ON_STAGE = frozenset(("sys.settrace", "sys.setprofile"))
# ... and to the judge's own thread, where only code of the program could make them.
_NOT_HERE = frozenset(("sys._getframe", "object.__getattr__", "sys.settrace", "sys.setprofile"))
_WATCHED = _NEVER | _NOT_ON_STAGE | _NOT_HERE | {"ctypes.dlopen"}


# Signals within the judge: built-in exceptions, whose types cannot be patched, and which nothing else raises here.
_Raised = EOFError  # the stage's call has raised: the exception
_Unmet = AssertionError  # an assertion does not hold: left names, left value, operator, right value, right names


def plain(value: Any, depth: int = 0) -> bool:
    """Return whether a value is of built-in types all through, so that comparing it runs no code of the program."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth > 20:
        return False
    if kind in _GROUPS:
        return all(plain(part, depth + 1) for part in value)
    return kind is dict and all(plain(k, depth + 1) and plain(v, depth + 1) for k, v in value.items())


def decoys() -> list[Any]:
    """Values of which no two are equal."""
    n = int.from_bytes(_urandom(6), "big") + 1000
    few = 2 + n % 50
    numbers = [few, few + 1, few + 60, n, -n, n + 0.5, -n - 0.5]
    texts = [str(n), hex(n), b"%d" % n, ""]
    return [object(), True, False, None, *numbers, *texts, [n], [], (n,), (), {n: n}, {}, {n}, frozenset((n, few))]


def _like(value: Any, leaf: Any) -> Any:
    """A value of the same shape with `leaf` for every part that is no list, tuple or dict."""
    if type(value) in (list, tuple):
        return type(value)([_like(part, leaf) for part in value])
    return {key: _like(part, leaf) for key, part in value.items()} if type(value) is dict else leaf


def fair(value: Any, expected: Any, equal: Any = _equal) -> bool:
    """Return whether `==` tells the value from others: a value that equals two different decoys equals anything."""
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
    full = [decoy for decoy in equals if type(decoy) not in _SIZED or decoy]  # an empty value may equal all empty ones
    return len(full) + (len(full) < len(equals)) < 2


def same(left: Any, right: Any, word: str = "==") -> Any:
    """`left == right` as the asserts of test files ask it; False where a side is not fair."""
    holds = left == right if word == "==" else left in right
    return holds if fair(left, right) and (word == "in" or fair(right, left)) else False


def snapshot(namespaces: dict[str, Any]) -> list[tuple[str, Any, list[str], list[int]]]:
    """The functions and classes in the namespaces now, for `_changed` to compare."""
    entries = []
    for label, namespace in namespaces.items():
        names = [name for name, value in namespace.items() if callable(value)]
        entries.append((label, namespace, names, _ids(namespace, names)))
    return entries


def _ids(namespace: Any, names: list[str]) -> list[int]:
    if not {*map(type, namespace)} <= {str}:
        return []  # a key of the program's type could equal any of the names
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
    """Judge one run; ends the process.

    `run` (a `child.Run`) holds functions and facts made before the program was loaded; `before` is a
    snapshot of the functions and classes that must be the same when the run ends.

    Invariant: the first `perform` loads the program, and everything that the judge relies on is copied before that.
    """
    try:
        run = _Record(**vars(run))
        run.places = dict(run.places)
        state = _Record(
            looking=False,  # the judge itself is reading frames or code
            kept=[[]],  # objects from the program since the last release, in a list of their own
            bottom=None,  # the frame of the stage that calls the judge's tasks
            opened=None,  # the frame of the guard that is calling a test
            calling=None,  # the test; None where its code is not that of a test file
            name="",  # the test's
            intruder="",  # the file of the code that took part in running the tests and may not
            collected=False,
            finished=False,
        )
        _add_hook(watch(state, _ident(), run.main))
        send, stop = writer(secret, pipe)
        keep, release = keeper(state, stage.spent)
        handle = handler(state, run, send, stop, keep)
        perform = performer(state, stage.tasks, stage.go, stage.ready, reader(state, run, keep), handle, stop, release)
        stage.ready.acquire()
        state.looking = True
        state.bottom = _frames()[run.main].f_back
        state.looking = False
        run_all(state, run, perform, runner(run, perform, send, keep), send, stop, keep, release)
        state.looking = True
        changed = _changed(before)
        if changed is not None:
            stop(changed + " was replaced while the tests ran")
        send("done")
        _exit(0)
    except BaseException:
        _exit(71)


def watch(state: Any, here: int, main: int) -> Any:
    """Return the audit hook.  `here` is the judge's thread, `main` that of the stage.

    Invariant: no thread but the judge's gets at objects or frames that it has no reference to, and on the judge's
    thread frames and code are read only while `state.looking`.
    """

    def hook(event: str, arguments: Any) -> None:
        if event not in _WATCHED:
            return
        if event in _NOT_HERE and (state.looking or _ident() != here):
            refused = event in _NOT_ON_STAGE and (_OF_ALL_THREADS or _ident() == main)
        elif event in _NEVER:
            refused = _ident() != here
        else:
            refused = event != "ctypes.dlopen" or arguments[0] is not None
        if refused:
            raise PermissionError(errno.EPERM, event + " is not allowed in the sandbox")

    return hook


def writer(secret: str, pipe: int) -> Any:
    """Return (send, stop): write an event; write why no test of the run counts, and end the process.

    Invariant: the secret is nowhere but in these frames and on the pipe.
    """

    def send(event: str, **facts: str) -> None:
        text = "".join(f',"{key}":{encode_basestring_ascii(value)}' for key, value in facts.items())
        _write(pipe, f'{secret}{{"event":"{event}"{text}}}\n'.encode())

    def stop(reason: str) -> None:
        send("tampered", reason=reason)
        _exit(70)

    return send, stop


def keeper(state: Any, spent: Any) -> Any:
    """Return (keep, release): hold an object from the program; leave all that are held to the stage.

    Invariant: the last reference to an object from the program is never dropped on this thread.
    """

    def keep(thing: Any) -> Any:
        state.kept[0].append(thing)
        return thing

    def release() -> None:
        spent.append(state.kept.pop())  # the list is at no time this thread's alone to end
        state.kept.append([])

    return keep, release


def reader(state: Any, run: Any, keep: Any) -> Any:
    """Return `position`, which reads where the stage has stopped.

    Invariant: an event is the line at which the main thread has stopped in `Stage`, and its facts are variables of that
    frame, which no other thread can get at; arguments and messages are not trusted.
    """
    notify, places, program, scratch, trusted = run.notify, run.places, run.program, run.scratch, run.trusted

    def position() -> tuple[Any, str, Any]:
        """(frame that called `notify`, event, facts); the event is "" where foreign code takes part in the tests."""
        state.looking = True
        top: Any = _frames()[run.main]
        frame = top.f_back
        event, facts = "", ()
        if top.f_code is notify and frame is not None:
            event, facts = places.get((_id(frame.f_code), frame.f_lineno), ""), keep(top.f_locals["facts"])
        if event not in ("returned", "raised", "left", "threw"):  # nobody but the tests' machinery may be at work
            below = frame
            while below is not None:
                file = below.f_code.co_filename
                if type(file) is not str or file == program or file.startswith(scratch) or not file.startswith(trusted):
                    event, state.intruder = "", file if type(file) is str else "a file whose name is no plain text"
                below = below.f_back
        top = below = None
        state.looking = False
        return frame, event, facts

    return position


def recognizer(state: Any, run: Any, keep: Any) -> Any:
    """Return (test_in, label, replaced).

    Invariant: a test counts only if its code is in `run.tests`, is labeled as in the run of the file as it is, and the
    names that its file has from builtins and libraries stand for the same objects as before the program was loaded.
    """

    def entry(namespace: Any, word: str) -> Any:
        """Value under a name: `get` would ask keys of the program's own types whether they equal it."""
        for key, value in keep(list(namespace.items())):
            if type(key) is str and key == word:
                return value
        return None

    def code_of(function: Any) -> Any:
        state.looking = True
        code = keep(function.__code__)
        state.looking = False
        return code

    def test_in(test: Any, caller: Any) -> Any:
        """The function of the tests that `test` is or wraps, where pytest or unittest's own `caller` calls it."""
        if caller is not None and not (type(caller) is _Method and any(caller.__func__ is each for each in run.runs)):
            return None
        for _ in range(20):
            if type(test) is _Partial:
                test = keep(test.func)  # another thread can put another there
            if type(test) is _Method:
                test = test.__func__
            if type(test) is not _Function:
                return None
            code = code_of(test)
            if _id(code) in run.tests:
                return test
            if code.co_filename == run.program:
                return None
            inner = entry(test.__dict__, "hypothesis")
            test = entry(test.__dict__, "__wrapped__") if inner is None else entry(run.inner_test(inner), "inner_test")
        return None

    def label(test: Any) -> str:
        """File and qualified name of a test's code and of the code that it claims to wrap."""
        parts = ""
        for _ in range(20):
            if type(test) is _Partial:
                test = keep(test.func)
            if type(test) is _Method:
                test = test.__func__
            if type(test) is not _Function:
                break
            code = code_of(test)
            parts += code.co_filename + ":" + getattr(code, "co_qualname", code.co_name) + "\n"
            test = entry(test.__dict__, "__wrapped__")
        return parts

    def replaced(test: Any) -> str | None:
        """The first name in the test's module, which anybody can change, that no longer has its meaning, in words."""
        file = code_of(test).co_filename
        if type(file) is not str:
            return "a test's file has a name that is no plain text"
        meant, builtin = run.words.get(file, ({}, ()))
        where = " of the test file was replaced while the tests ran (" + file + ")"
        for key, value in keep(list(test.__globals__.items())):
            if type(key) is not str:
                return "a name that is no plain text" + where
            if key in builtin or (key in meant and value is not meant[key]):
                return key + where
        used = test.__builtins__ if _FIXED_BUILTINS else entry(test.__globals__, "__builtins__")
        return None if used is _true_builtins or used is builtins else "__builtins__" + where

    return test_in, label, replaced


def handler(state: Any, run: Any, send: Any, stop: Any, keep: Any) -> Any:
    """Return `handle`, which handles an event about the tests of files.

    Invariant: a verdict is sent only when the guard's frame that entered a test of the tests' own leaves it; events out
    of turn end the run.
    """
    test_in, label, replaced = recognizer(state, run, keep)

    def through_program(error: Any) -> bool:
        """Return whether the program's code is on the traceback."""
        traceback, through = _traceback_of(error), False
        while traceback is not None:
            state.looking = True
            through |= traceback.tb_frame.f_code.co_filename == run.program
            state.looking = False
            traceback = traceback.tb_next
        return through

    def ended(event: str, facts: Any) -> None:
        state.opened = None
        if state.calling is None:
            return
        if event == "left":
            if (change := replaced(state.calling)) is not None:
                stop(change)
            send("verdict", name=state.name, status="pass")
        elif any(type(facts[0]) is skip for skip in run.skips) and not through_program(facts[0]):
            send("verdict", name=state.name, status="skip")

    def handle(frame: Any, event: str, facts: Any) -> None:
        if event == "enter" and state.opened is None:
            state.opened, state.name, state.calling = frame, text(stop, facts[0]), test_in(facts[1], facts[2])
            labels = run.labels.get(state.name.partition("[")[0])
            if labels is not None and label(facts[1]) not in labels:
                state.calling = None  # another test in its place
            if state.calling is None:
                send("unknown", name=state.name)
        elif event in ("left", "threw") and frame is state.opened:
            ended(event, facts)
        elif event == "collected" and not state.collected and state.opened is None:
            state.collected = True
            names, may_skip, functions = (keep(list(each) if type(each) is list else [None]) for each in facts)
            for name, function in zip(names, functions):
                send("test", name=text(stop, name), label=label(function) if run.rehearsal else "")
            for name in may_skip:
                send("verdict", name=text(stop, name), status="skip")
        elif event == "skipped" and state.opened is None:
            send("verdict", name=text(stop, facts[0]), status="skip")
        elif event == "finish" and state.opened is None:
            state.finished = True
        elif event:
            stop("the tests were reported out of turn (" + event + ")")
        else:
            stop("code that is not theirs took part in running the tests (" + (state.intruder or "unknown file") + ")")

    return handle


def text(stop: Any, name: Any) -> str:
    """The name of a test, if it is plain text; else the run ends."""
    if type(name) is not str:
        stop("the name of a test is no plain text")
    return name


def performer(state: Any, tasks: Any, go: Any, ready: Any, position: Any, handle: Any, stop: Any, release: Any) -> Any:
    """Return `perform`, which has the stage call a function.

    Invariant: a result counts only from the bottom frame of the stage and for the task that was left there; only one of
    the two threads runs at a time.
    """

    def perform(function: Any, *arguments: Any, **named: Any) -> Any:
        """Return the function's result.  Raises _Raised."""
        task = (function, arguments, named)
        tasks.append(task)
        while True:
            go.release()
            ready.acquire()
            _collect_off()
            frame, event, facts = position()
            if event in ("returned", "raised") and frame is state.bottom:
                if facts[0] is not task:
                    stop("a result was reported that is not the one asked for")
                if event == "raised":
                    raise _Raised(facts[1])
                return facts[1]
            handle(frame, event, facts)
            frame = facts = None
            release()

    return perform


def checker(perform: Any, keep: Any) -> Any:
    """Return `check`, which evaluates an expression of a bare assert.

    Invariant: sides are evaluated once, on the stage, from left to right, as the statement would.  They are compared
    here where they are of built-in types all through, as copies; else on the stage, with decoys.
    """

    def check(expression: Any, namespace: Any) -> None:
        """Raises _Unmet, _Raised."""
        kind, *parts = expression
        if kind == "and":
            for part in parts:
                check(part, namespace)
        elif kind == "compare":
            left_side, *rest = parts
            left = value_of(left_side, namespace)
            for word, right_side in rest:
                right = value_of(right_side, namespace)
                if not compare(word, left, right, left_side, right_side):
                    raise _Unmet(left_side[0], left, word, right, right_side[0])
                left_side, left = right_side, right
        elif kind == "close":
            function, got_side, expected_side, rest, options = parts
            got, expected = value_of(got_side, namespace), value_of(expected_side, namespace)
            others = [perform(_eval, code, namespace) for code in rest]
            named = {name: perform(_eval, code, namespace) for name, code in options}
            predicate = perform(_eval, function, namespace)
            if not true(perform(predicate, got, expected, *others, **named)):
                raise _Unmet(got_side[0], got, "about", expected, expected_side[0])
        else:
            value = value_of(parts[0], namespace)
            if true(value) != (kind == "true"):
                raise _Unmet(parts[0][0], value, "is", kind == "true", None)

    def value_of(side: Any, namespace: Any) -> Any:
        _, code, literal, _ = side
        return _eval(code, {}) if literal else perform(_eval, code, namespace)

    def true(value: Any) -> bool:
        return value is True or (value is not False and perform(bool, value) is True)

    def copied(value: Any, depth: int = 0) -> Any:
        """A value of built-in types, as nobody else can change it.  Raises TypeError where it is not of such types."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if depth > 20 or (kind not in _GROUPS and kind is not dict):
            raise TypeError
        parts = keep(list(value.items() if kind is dict else value))
        if kind is dict:
            return {copied(key, depth + 1): copied(part, depth + 1) for key, part in parts}
        return kind([copied(part, depth + 1) for part in parts])

    def compare(word: str, left: Any, right: Any, left_side: Any, right_side: Any) -> bool:
        if word in ("is", "is not"):
            return (left is right) == (word == "is")
        function = _COMPARE[word]
        try:
            return bool(function(copied(left), copied(right)))  # here, without code of the program
        except Exception:  # it goes wrong on the stage too, where the program may read the traceback
            pass
        if not true(perform(function, left, right)):
            return False
        if word not in ("==", "in"):
            return True
        sides = ((left, right, left_side[3]), (right, left, right_side[3]))
        return all(wide or fair(value, other, asked) for value, other, wide in sides)

    def asked(left: Any, right: Any) -> bool:
        return true(perform(_equal, left, right))

    return check


def runner(run: Any, perform: Any, send: Any, keep: Any) -> Any:
    """Return (run_assert, run_example), which run one test and return whether it held.

    Invariant: the verdict is sent here, after the last step has held, and not by the function that reports it.
    """
    check = checker(perform, keep)

    def run_assert(test: Any, namespace: Any) -> bool:
        """Run a `bare_asserts.Test`."""
        name, sides, steps = test
        perform(run.begin, name, sides, namespace)
        began, note = _now(), None
        try:
            for kind, step, message in steps:
                note = message
                if kind == "check":
                    check(step, namespace)
                else:
                    perform(_eval, step, namespace)
        except _Unmet as unmet:
            perform(run.unmet, name, _now() - began, note, namespace, *unmet.args)
            return False
        except _Raised as raised:
            perform(run.raised, name, _now() - began, sides, namespace, raised.args[0])
            return False
        send("verdict", name=name, status="pass")
        perform(run.ended, name, _now() - began, {})
        return True

    def run_example(name: str, function: Any) -> bool:
        """Run the examples of one docstring."""
        perform(run.begin, name, (), None)
        began = _now()
        try:
            facts = perform(function)
        except _Raised as raised:
            perform(run.raised, name, _now() - began, (), None, raised.args[0])
            return False
        passed = type(facts) is dict and not facts
        if passed:
            send("verdict", name=name, status="pass")
        perform(run.ended, name, _now() - began, facts)
        return passed

    return run_assert, run_example


def run_all(state: Any, run: Any, perform: Any, runners: Any, send: Any, stop: Any, keep: Any, release: Any) -> None:
    """Run everything, in the suite's order except for the test to run first.

    Invariant: every test is sent by name before any of its kind runs, so that one that does not run counts.
    """
    run_assert, run_example = runners
    for name, *_ in run.asserts:
        send("test", name=name)
    namespace = perform(run.load)
    if namespace is None:
        return
    if run.calls is not None:
        perform(run.calls, namespace)
        return
    asserts: list[Any] = [(test[0], run_assert, test, namespace) for test in run.asserts]
    docstrings = perform(run.examples)
    if type(docstrings) is not list or any(type(example) is not tuple for example in keep(list(docstrings))):
        stop("the examples of the docstrings are not in the form that they were found in")
    examples: list[Any] = [(text(stop, each[0]), run_example, *each) for each in keep(list(docstrings))]
    for name, *_ in examples:
        send("test", name=name)
    for group in (asserts, examples):
        group.sort(key=lambda part: part[0] != run.first)
    parts = examples + asserts if examples and examples[0][0] == run.first else asserts + examples
    files_first = run.first is not None and all(part[0] != run.first for part in parts)
    stopped = False
    if run.files is not None and files_first:
        stopped = perform(run.files, False, False) is True
    for _, function, *arguments in parts:
        if not (stopped or run.rehearsal):
            stopped = not function(*arguments) and run.stop_on_failure
            release()
    if run.files is not None and not files_first:  # after a stop its tests need not run but still count
        perform(run.files, stopped, True)
    if not state.finished:  # else pytest has only printed its summary since
        perform(run.flush)
