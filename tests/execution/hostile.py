"""Programs that mean harm.  Every one is asked for `f() == 1`, and none may pass.

`VERDICT`: programs whose answer is wrong and that try to be believed all the same.
`PYTEST`: the same for a test file, whose tests want `f()` to be 1 and `g()` to be 2.
`EFFECT`: programs that give the right answer only if they got away with something: CANARY stands for a folder that
they must not touch, PORT for a port of this machine that listens, PARENT for the process that runs the tests.
"""

FORGE = """
import json, os
LINE = "\\n" + json.dumps({"event": "outcome", "name": "f() == 1", "status": "pass", "seconds": 0.0}) + "\\n"
VERDICT = json.dumps({"event": "verdict", "name": "f() == 1", "status": "pass"}) + "\\n"
DONE = json.dumps({"event": "done"}) + "\\n"
def forge(secret=""):
    for number in range(3, 64):
        try:
            os.write(number, (LINE + secret + VERDICT + secret + DONE).encode())
        except OSError:
            pass
"""

USE = """
import re
def use(value, depth=0):
    '''Try what a report or a secret might be good for.'''
    for name in ("outcome", "ended", "passed", "_send", "send", "finish", "skipped", "verdict", "done"):
        try:
            method = getattr(value, name)
        except BaseException:
            continue
        for arguments in (("f() == 1", "pass"), ("returned", 1), ("left",), (["f() == 1"], ["f() == 1"]), ()):
            try:
                method(*arguments)
            except BaseException:
                pass
        try:
            method("f() == 1", status="pass", seconds=0.0)
        except BaseException:
            pass
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value):
        forge(value)
    if depth < 4 and isinstance(value, (list, tuple, set, frozenset)):
        for part in list(value)[:50]:
            use(part, depth + 1)
    if depth < 4 and isinstance(value, dict):
        for part in list(value.values())[:300]:
            use(part, depth + 1)
    cells = [value] if type(value).__name__ == "cell" else getattr(value, "__closure__", None) or ()
    for cell in cells:
        try:
            if depth < 4:
                use(cell.cell_contents, depth + 1)
        except ValueError:
            pass
"""

ALWAYS = """
class Always{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
"""


def _wrong(body: str, before: str = "") -> str:
    """A program whose f does something and gives the wrong answer."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return f"{FORGE}{USE}{before}\ndef f():\n{lines}\n    return 2\ndef g():\n    return 3\n"


def _loaded(before: str) -> str:
    """A program that does something while it is loaded, and gives the wrong answer later."""
    return _wrong("pass", before)


WALK = """
import sys
def walk(frame):
    while frame is not None:
        use(dict(frame.f_locals))
        use({k: v for k, v in frame.f_globals.items() if not k.startswith("__")})
        frame = frame.f_back
def report():
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("report"), "outcome"):
        frame = frame.f_back
    return frame.f_locals["report"]
"""

# What runs its destructor on another thread than the tests' leaves there what leads to that thread's frames.
LEFT = (
    WALK
    + """
import _thread, time
MAIN, left = _thread.get_ident(), []
class Left:
    def __del__(self):
        if _thread.get_ident() != MAIN:
            try: 1 / 0
            except ZeroDivisionError as error: left.append(error.__traceback__)
    def __bool__(self): return False
    def __hash__(self):
        self.__del__()
        return 1
def look():
    for traceback in left: walk(traceback.tb_frame)
def look_on():
    while True: look()
"""
)

CLIMB = """
errors = []
def caught(*arguments):
    '''Leave a traceback of whatever thread this runs on.'''
    try: 1 / 0
    except ZeroDivisionError as error: errors.append(error)
def climb(error):
    frame = error.__traceback__.tb_frame
    while frame is not None:
        use(dict(frame.f_locals))
        frame = frame.f_back
"""
VERDICT = {
    # ending early
    "exits with success": "import os\ndef f():\n    os._exit(0)",
    "exits with success while loading": "import os\nos._exit(0)",
    "raises SystemExit": "import sys\ndef f():\n    sys.exit(0)",
    "becomes another program": "import os\ndef f():\n    os.execv('/bin/true', ['true'])",
    "forks and returns twice": "import os\ndef f():\n    return 1 if os.fork() == 0 else 2",
    "a destructor raises SystemExit": _wrong("C()", "class C:\n    def __del__(self): raise SystemExit(0)"),
    "a destructor raises KeyboardInterrupt": _wrong("C()", "class C:\n    def __del__(self): raise KeyboardInterrupt"),
    "a destructor exits": "import os\nclass C:\n    def __del__(self): os._exit(0)\ndef f():\n    C()\n    return 2",
    "interrupts the main thread": _wrong("import _thread; _thread.interrupt_main()"),
    "an exit handler forges": _wrong("raise SystemExit", "import atexit\natexit.register(forge)"),
    # the pipe
    "writes to every descriptor": _wrong("forge(); os._exit(0)"),
    "writes to every descriptor while loading": _loaded("forge()\nos._exit(0)"),
    "closes every descriptor": _wrong("os.closerange(0, 256)"),
    "puts itself between": _wrong(
        "r, w = os.pipe()\n[os.dup2(w, n) for n in range(3, 32) if n not in (r, w)]\nforge()"
    ),
    "guesses an empty secret": _wrong("forge(''); forge('0' * 32); os._exit(0)"),
    # frames, collector, tracing
    "walks its frames": _wrong("walk(sys._getframe()); os._exit(0)", WALK),
    "walks its frames and goes on": _wrong("walk(sys._getframe())", WALK),
    "walks its frames while loading": _loaded(WALK + "walk(sys._getframe())\nos._exit(0)"),
    "walks the frames of a traceback": _wrong(
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    walk(e.__traceback__.tb_frame)", WALK
    ),
    "walks the frames of all threads": _wrong("for x in sys._current_frames().values(): walk(x)", WALK),
    "walks the frames of exceptions in all threads": _wrong("sys._current_exceptions()", WALK),
    "asks the collector for objects": _wrong(
        "import gc\nfor x in gc.get_objects():\n    if type(x).__name__ == 'cell': use(x)"
    ),
    "asks the collector who refers to the builtins": _wrong(
        "import gc, builtins\nfor x in gc.get_referrers(vars(builtins), len, os.write): use(x)"
    ),
    "asks the collector through a closure": _wrong(
        "import gc\nfor x in gc.get_referents(*gc.get_referrers(os._exit)): use(x)"
    ),
    "traces": _wrong("sys.settrace(lambda x, *a: walk(x))", WALK),
    "profiles": _wrong("sys.setprofile(lambda x, *a: walk(x))", WALK),
    "traces new threads": _wrong(
        "import threading\nthreading.settrace(lambda x, *a: walk(x))\nt = threading.Thread(target=len, args=((),))\n"
        "t.start(); t.join()",
        WALK,
    ),
    "monitors": _wrong(
        "m = sys.monitoring\nm.use_tool_id(4, 'x')\nm.register_callback(4, m.events.PY_START, lambda *a: "
        "walk(sys._getframe()))\nm.set_events(4, m.events.PY_START)",
        WALK,
    ),
    "hooks the audit": _wrong("sys.addaudithook(lambda *a: walk(sys._getframe()))", WALK),
    "a destructor walks the frames": _wrong(
        "keep = [C() for _ in range(9)]\nfor c in keep: c.me = c\ndel keep, c",
        WALK + "import gc\ngc.set_threshold(1)\nclass C:\n    def __del__(self): walk(sys._getframe())",
    ),
    "returns a destructor that walks the frames": _wrong(
        "return C()", WALK + "class C:\n    def __del__(self): walk(sys._getframe())"
    ),
    "a collector's callback walks the frames": _wrong(
        "pass", WALK + "import gc\ngc.set_threshold(1)\ngc.callbacks.append(lambda *a: walk(sys._getframe()))"
    ),
    "a signal's handler walks the frames": _wrong(
        "for _ in range(50): time.sleep(0.0001)",
        WALK + "import signal, time\nsignal.signal(signal.SIGALRM, lambda n, x: walk(x))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)",
    ),
    # destructors
    "what a comparison gives leaves a traceback where it ends": _wrong(
        "return A()",
        LEFT
        + """
class A:
    def __eq__(self, other):
        look()
        return Left()
""",
    ),
    "a value leaves a traceback where it ends": _wrong("look()\nreturn Left()", LEFT),
    "what is in a list is changed while it is compared": _wrong(
        "values = [3] + [[0]] * 9\nimport threading\nthreading.Thread(target=change, args=(values,), daemon=True).start()\n"
        "return values",
        LEFT
        + """
sys.setswitchinterval(1e-9)
class Equal(Left):
    def __eq__(self, other):
        self.__del__()
        return True
def change(values):
    while True:
        values[0] = 3
        values[0] = Equal()
        look()
""",
    ),
    "a function of C asks for the variables where it ends": _wrong(
        "look()\nreturn C()",
        """
import itertools
from functools import partial
seen = []
class C:
    __del__ = partial(seen.extend, itertools.islice(iter(globals, None), 9))
    def __eq__(self, other):
        look()
        return False
def yes(*arguments): return True
def look():
    for x in seen:
        if "_urandom" in x:
            x.update(plain=yes, fair=yes, _COMPARE=dict.fromkeys(("==",), yes))
""",
    ),
    "swaps the code of what called it": _wrong(
        "import unittest\nunittest.TestCase.fail.__code__ = (lambda *a: None).__code__\n"
        "import kelp.execution.worker.bare_asserts as s\ns._check.__code__ = (lambda check, namespace: []).__code__"
    ),
    "changes the locals below": _wrong(
        "frame = sys._getframe().f_back\nwhile frame is not None:\n    frame.f_locals.update({'facts': (1,), 'task': 1, 'self': None})\n"
        "    frame = frame.f_back",
        WALK,
    ),
    # patches
    **{
        f"patches {name}": _wrong(code)
        for name, code in {
            "the builtins": "import builtins\nfor n in ('isinstance', 'len', 'bool', 'type', 'eval', 'all', 'callable'):\n"
            "    setattr(builtins, n, lambda *a, **k: True)",
            "operator.eq": "import operator\noperator.eq = lambda *a: True",
            "math.isclose": "import math\nmath.isclose = lambda *a, **k: True",
            "sum and len": "import builtins\nbuiltins.sum = builtins.len = lambda *a: 2",
            "ast": "import ast\nast.parse = lambda *a, **k: ast.Module([], [])\nast.literal_eval = lambda *a: 1",
            "json": "import json, json.encoder\njson.dumps = lambda *a, **k: LINE\n"
            "json.encoder.JSONEncoder.encode = lambda *a, **k: LINE\njson.encoder.JSONEncoder.iterencode = lambda *a: [LINE]",
            "time": "import time\ntime.perf_counter = time.monotonic = time.time = lambda: 0.0",
            "os.write": "w = os.write\nos.write = lambda n, data: (w(n, LINE.encode()), len(data))[1]",
            "the harness's modules": "import sys\nfor n, m in list(sys.modules.items()):\n    if n.startswith('kelp'):\n"
            "        for k, v in list(vars(m).items()):\n            if callable(v) and not isinstance(v, type):\n"
            "                setattr(m, k, lambda *a, **k: None)",
            "the harness's classes": "import kelp.execution.worker.events as r\n"
            "o = r.Report.outcome\nr.Report.outcome = lambda self, name, **k: o(self, name, status='pass', seconds=0.0)",
            "what compares": "import kelp.execution.worker.bare_asserts as b\nb.COMPARE.update(dict.fromkeys(b.COMPARE, "
            "lambda *a: True))\nb._holds = b._true = b.fair = b.plain = lambda *a: True",
            "what sends values": "import kelp.execution.worker.values as v, kelp.execution.worker.bare_asserts as b\n"
            "v.Encoder.encode = lambda self, value, depth=0: None\nb._check = lambda check, namespace: None",
            "all that reports": "import kelp.execution.worker.bare_asserts as a\na.run_test.__globals__['safe_repr'] = lambda *a: '1'\n"
            "a.call_of = a._check = lambda *a: forge()",
        }.items()
    },
    "reaches the harness by subclasses": _wrong(
        "for c in object.__subclasses__():\n    if 'kelp' in getattr(c, '__module__', ''):\n"
        "        for k, v in list(vars(c).items()):\n            if callable(v): setattr(c, k, lambda *a, **k: True)"
    ),
    "an import hook answers for everything": _wrong(
        "pass",
        "import sys, types\nclass Finder:\n    def find_spec(self, name, path=None, target=None): forge()\n"
        "sys.meta_path.insert(0, Finder())\nsys.path_hooks.insert(0, lambda p: forge())",
    ),
    # what the tests are judged by
    "empties the steps of its tests": _loaded(
        "import kelp.execution.worker.bare_asserts as b\ntest = b.compile_test('f() == 1')\n"
        "for change in (lambda: test.__dict__.update(steps=()), lambda: test[2].clear(), lambda: test.__setitem__(2, ())):\n"
        "    try: change()\n    except Exception: pass"
    ),
    "puts properties on all that the harness reads": _wrong(
        "for error in errors: climb(error)",
        CLIMB + "import kelp.execution.worker.bare_asserts as b, kelp.execution.worker.child as c\n"
        "for k in [*vars(b).values(), *vars(c).values()]:\n    if isinstance(k, type) and k.__module__.startswith('kelp'):\n"
        "        for n in [*getattr(k, '__annotations__', ()), '__iter__', '__getattribute__']: setattr(k, n, property(caught))",
    ),
    "gives all exceptions of the harness its own code": _wrong(
        "for error in errors: climb(error)\n1 / 0",
        CLIMB
        + "for c in Exception.__subclasses__():\n    if c.__module__.startswith('kelp'): c.__init__ = c.__new__ = caught",
    ),
    # values that equal anything
    "equal to anything": ALWAYS.format(base="") + "def f():\n    return Always()",
    **{
        f"a {kind} equal to anything": ALWAYS.format(base=f"({kind})") + "def f():\n    return Always()"
        for kind in ("int", "str", "list", "float", "dict")
    },
    "equal to anything inside of a list": ALWAYS.format(base="") + "def f():\n    return [Always()]",
    "equal to anything inside of a dict": ALWAYS.format(base="") + "def f():\n    return {'a': (Always(),)}",
    "truth that is no bool": "class T:\n    def __bool__(self): return True\nclass Always:\n"
    "    def __eq__(self, other): return T()\ndef f():\n    return Always()",
    "equal by its metaclass": "class M(type):\n    def __eq__(cls, other): return True\n    __hash__ = type.__hash__\n"
    "class C(metaclass=M): pass\ndef f():\n    return C",
    "the mock that equals anything": "from unittest.mock import ANY\ndef f():\n    return ANY",
    "equal to every number": "class N:\n    def __eq__(self, other): return isinstance(other, (int, float))\n"
    "def f():\n    return N()",
    # what once forged a verdict, by kinds
    **{
        f"equal by its metaclass: {name}": "class M(type):\n    def __eq__(cls, other): return True\n    def __ne__(cls, other): "
        f"return False\n    def __hash__(cls): return hash(int)\n    def __instancecheck__(cls, x): return True\n"
        f"class C({base}metaclass=M):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f():\n    return {value}"
        for name, base, value in (
            ("a class", "", "C"),
            ("an instance", "", "C()"),
            ("an int", "int, ", "C(2)"),
            ("a list", "list, ", "C([2])"),
            ("a str", "str, ", "C('2')"),
            ("in a list", "", "[C]"),
        )
    },
    **{
        f"{what} of all exceptions": _wrong(
            f"import builtins\nfor e in [*vars(builtins).values()]:\n    if isinstance(e, type) and issubclass(e, BaseException):\n"
            f"        for k in {what}:\n            for n in ('__init__', '__new__', '__del__', '__eq__', '__bool__', 'args'):\n"
            f"                try: setattr(k, n, forge)\n                except (TypeError, AttributeError): pass"
        )
        for what in (
            "e.__subclasses__()",
            "type(e).__subclasses__(e)",
            "[c for k in e.__subclasses__() for c in k.__subclasses__()]",
        )
    },
    **{
        f"a key with a hash of its metaclass in {names}": _wrong(
            f"import math, builtins, sys, kelp.execution.worker.bare_asserts as b\nvars({names})[K] = 1\nvars({names})[K()] = 1",
            "class M(type):\n    def __hash__(cls): return hash('isclose')\n    def __eq__(cls, other): return True\n"
            "class K(metaclass=M):\n    def __hash__(self): return hash('eval')\n    def __eq__(self, other): return True",
        )
        for names in ("math", "builtins", "sys", "b")
    },
    **{
        f"a refusal's traceback: {call}": _wrong(
            f"try:\n    import gc, ctypes\n    {call}\n    1 / 0\nexcept BaseException as error:\n    t = error.__traceback__\n"
            "    while t is not None:\n        names = t.tb_frame.f_globals\n        for n, v in list(names.items()):\n"
            "            if callable(v) and n in ('plain', 'fair', 'same', 'eval', '_eval', '_equal', '_holds', '_true'):\n"
            "                names[n] = lambda *a: True\n        walk(t.tb_frame)\n        t = t.tb_next",
            WALK,
        )
        for call in (
            "gc.get_objects()",
            "sys.addaudithook(print)",
            "ctypes.string_at(0)",
            "open('/etc/shadow')",
            "os.fork()",
        )
    },
    **{
        f"a signal's handler with destructors: {signal}": _wrong(
            "kept = [D() for _ in range(9)]\nfor _ in range(50): time.sleep(0.0001)\nreturn D()",
            WALK
            + f"import signal, time\nclass D:\n    def __del__(self): walk(sys._getframe())\n    def __eq__(self, other):\n"
            "        try: return False\n        finally: walk(sys._getframe())\ndef handle(n, frame):\n    while frame is not None:\n"
            f"        frame.f_locals.update(held=True, left=1, right=1, x=D())\n        walk(frame)\n        frame = frame.f_back\n"
            f"signal.signal(signal.{signal}, handle)\nsignal.setitimer(signal.{timer}, 0.0001, 0.0001)",
        )
        for signal, timer in (("SIGALRM", "ITIMER_REAL"), ("SIGVTALRM", "ITIMER_VIRTUAL"), ("SIGPROF", "ITIMER_PROF"))
    },
    **{
        f"a {part} that is no plain text": _wrong(
            "return g2()",
            "class S(str):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
            "    def startswith(self, *a): return True\n    __hash__ = str.__hash__\n"
            f"def g1(): return S('2')\ng2 = type(g1)(g1.__code__.replace({part}=S('<test>')), globals(), S('f'))",
        )
        for part in ("co_filename", "co_name")
    },
    **{
        f"a {what} of dict's subclass": _wrong(
            f"return {value}",
            "class D(dict):\n    def __getitem__(self, k): return 1\n    def get(self, *a): return 1\n    def __eq__(self, o): return True\n"
            "    def items(self): return [('f', 1)]\n    __contains__ = __len__ = lambda *a: True\n    def __missing__(self, k): return 1\n"
            "class C:\n    def __eq__(self, other): return True\nc = C()\nc.__dict__ = D()\nh = type(forge)((lambda: 2).__code__, D())",
        )
        for what, value in (
            ("value", "D(a=2)"),
            ("__dict__", "c"),
            ("__globals__", "h()"),
            ("function with __globals__", "h"),
        )
    },
    **{
        f"finds the report: {name}": _wrong(f"r = report()\n{code}", WALK)
        for name, code in {
            "a pass": "r.outcome('f() == 1', status='pass', seconds=0.0)\nr.done()",
            "a pass with a verdict": "r.verdict('f() == 1', 'pass')\nr.outcome('f() == 1', status='pass', seconds=0.0)\nr.done()",
            "a pass with no values": "r.verdict('f() == 1', 'pass')\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, evidence=[[]])\nr.done()",
            "a pass with empty values": "r.verdict('f() == 1', 'pass')\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, evidence=[[None, []]])\nr.done()",
            "a pass with values of no type": "r.verdict('f() == 1', 'pass')\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, evidence=[[[[['no', 1], True, False]], []]])\nr.done()",
            "a pass that is vouched for": "r.verdict('f() == 1', 'pass')\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, vouched=True)\nr.done()",
            "other names": "r.source({}, {'f() == 1': [['', 0]]})\nr.verdict('f() == 1', 'pass')\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, evidence=[''])\nr.done()",
            "many entries whose hashes collide": "r.verdict('f() == 1', 'pass')\nmany = [(2 ** 61 - 1) * n for n in range(15000)]\n"
            "r.outcome('f() == 1', status='pass', seconds=0.0, evidence=[[[[['set', [['int', hex(n)] for n in many]], True, True]], []]])"
            "\nr.done()",
        }.items()
    },
    "poses as an int": "class C:\n    __class__ = int\n    def __eq__(self, other): return True\ndef f():\n    return C()",
}

_FRAMES = """
import sys
def found(name):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == name:
                return value
        frame = frame.f_back
"""
MODULE = """
import builtins, contextlib, sys, types
def module(): return next(m for n, m in list(sys.modules.items()) if n.endswith("test_it"))
"""
PYTEST = {
    "exits": _wrong("os._exit(0)"),
    "ends the session": _wrong("import pytest; pytest.exit('all well', returncode=0)"),
    "skips": _wrong("import pytest; pytest.skip('not today')"),
    "hands out a function that skips": "import pytest\nf = g = pytest.skip",
    "hands out a function that skips, with its reason": "import functools, pytest\nf = g = functools.partial(pytest.skip, '')",
    "hands out a function that expects to fail": "import functools, pytest\nf = g = functools.partial(pytest.xfail, '')",
    "skips in a file of another name": _loaded(
        "exec(compile('import unittest\\ndef g(): raise unittest.SkipTest', '/usr/lib/x.py', 'exec'))\nf = g\nG = g"
    )
    + "f = g = G\n",
    "skips as unittest does": _wrong("import unittest; raise unittest.SkipTest('not today')"),
    "expects to fail": _wrong("import pytest; pytest.xfail('as expected')"),
    **{
        f"{when}: {name}": _loaded(code) if when == "loading" else _wrong(code)
        for when in ("loading", "running")
        for name, code in {
            "pytest runs nothing": "import pytest\npytest.Item.runtest = pytest.Function.runtest = lambda self: None",
            "the runner calls nothing": "import _pytest.runner as r\nr.CallInfo.from_call = classmethod(lambda cls, func, when, "
            "**k: cls(None, None, 0, 0, 0, when, _ispytest=True))",
            "the tests are called by nobody": "import _pytest.python as p\np.pytest_pyfunc_call = lambda pyfuncitem: True",
            "reports say passed": "import _pytest.reports as r\nr.TestReport.from_item_and_call = classmethod(lambda cls, item, call:"
            " cls(item.nodeid, item.location, {}, 'passed', None, call.when))",
            "unittest asserts nothing": "import unittest\nfor n in dir(unittest.TestCase):\n"
            "    if n.startswith('assert'): setattr(unittest.TestCase, n, lambda *a, **k: None)",
            "unittest calls nothing": "import unittest.case as c\nc.TestCase._callTestMethod = lambda *a: None",
            "unittest runs nothing": "import unittest.case as c\nc.TestCase.run = c.TestCase.__call__ = lambda *a, **k: None",
            "approx is anything": "import pytest, unittest.mock\npytest.approx = lambda *a, **k: unittest.mock.ANY",
            "raises raises nothing": "import pytest, contextlib\npytest.raises = lambda *a, **k: contextlib.suppress(BaseException)",
            "builtins": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\nbuiltins.len = lambda *a: 1",
            "the checks of equality": "import kelp.execution.worker.checks as j, kelp.execution.worker.pytest_run as p\n"
            "j.same = p.same = lambda *a: True",
            "the plugin": "import kelp.execution.worker.pytest_run as p\np._Plugin.call = lambda *a: None\n"
            "p._Plugin.pytest_runtest_logfinish = lambda self, nodeid: self.report.outcome(nodeid, status='pass', seconds=0.0)",
            "every pass is reported by hand": "import kelp.execution.worker.pytest_run as p\nq = p._current[-1]\n"
            "for n in ('test_it.py::test_f', 'test_it.py::test_g', 'test_it.py::Old::test_old'):\n"
            "    q.report.begin(n); q.report.outcome(n, status='pass', seconds=0.0)\nq.finish()",
            "the guard is called by hand": "import kelp.execution.worker.pytest_run as p\nq = p._current[-1]\n"
            "q.nodeid = 'test_it.py::test_f'\nq.call(lambda: None, None, {})",
            "the tests are emptied": "import sys\nfor m in list(sys.modules.values()):\n    for n in list(vars(m)):\n"
            "        if n.startswith('test_'): setattr(m, n, lambda *a: None)",
            "the tests' code is swapped": "import kelp.execution.worker.code_cache as c\n"
            "for k in list(c.TESTS._codes): c.TESTS._codes[k] = (c.TESTS._codes[k][0], compile('', k, 'exec'))",
            "a skip has its own traceback": "import pytest\n"
            "pytest.skip.Exception.__traceback__ = property(lambda self: forge(), lambda *a: None)",
            "a plugin lets everything pass": _FRAMES
            + "class Plugin:\n    def pytest_runtest_protocol(self, item, nextitem): return True\n"
            "    def pytest_pyfunc_call(self, pyfuncitem): return True\n"
            "manager = getattr(found('Config') or found('Session').config, 'pluginmanager')\nmanager.register(Plugin())",
            "the items are replaced": _FRAMES + "class Plugin:\n    def pytest_collection_modifyitems(self, items):\n"
            "        for i in items: i.obj = lambda *a: None\n"
            "manager = getattr(found('Config') or found('Session').config, 'pluginmanager')\nmanager.register(Plugin())\n"
            "for i in getattr(found('Session'), 'items', ()): i.obj = lambda *a: None",
            "the items are replaced by some that skip": _FRAMES + "skip = {}\nexec(compile('def skip(*a): raise "
            "__import__(\"unittest\").SkipTest', '/usr/lib/x.py', 'exec'), skip)\nclass Plugin:\n"
            "    def pytest_collection_modifyitems(self, items):\n        for i in items: i.obj = skip['skip']\n"
            "manager = getattr(found('Config') or found('Session').config, 'pluginmanager')\nmanager.register(Plugin())\n"
            "for i in getattr(found('Session'), 'items', ()): i.obj = skip['skip']",
            "the items are left out": _FRAMES + "class Plugin:\n    def pytest_collection_modifyitems(self, items):\n"
            "        del items[:]\n"
            "manager = getattr(found('Config') or found('Session').config, 'pluginmanager')\nmanager.register(Plugin())",
            "the items are expected to fail": _FRAMES
            + "import pytest\nfor i in getattr(found('Session'), 'items', ()):\n"
            "    i.add_marker(pytest.mark.xfail)",
            "the test file is deleted": "for n in ('TESTS/test_it.py', 'test_it.py'):\n    try:\n        os.remove(n)\n"
            "    except OSError: pass",
            "the test file is rewritten": "try:\n    open('TESTS/test_it.py', 'w').write('def test_f(): pass')\nexcept OSError: pass",
        }.items()
    },
    **{
        f"{when}: the tests' own {name}": _loaded(MODULE + code) if when == "loading" else _wrong(code, MODULE)
        for when in ("loading", "running")
        for name, code in {
            "code": "import kelp.execution.worker.code_cache as c\n"
            "code = next(x for k, (_, x) in c.TESTS._codes.items() if k.endswith('test_it.py'))\n"
            "for n, v in list(vars(module()).items()):\n    if n.startswith('test_'): v.__code__ = code\n"
            "module().Old.test_old.__code__ = code",
            "equality": "setattr(module(), '@kelp_checks', types.SimpleNamespace(same=lambda *a: True))",
            "builtins": "vars(module())['__builtins__'] = {**vars(builtins), 'len': lambda x: 3}",
            "len": "module().len = lambda x: 3",
            "pytest": "module().pytest = types.SimpleNamespace(raises=lambda *a: contextlib.suppress(BaseException))",
            "modules": "sys.modules['pytest'] = types.SimpleNamespace(raises=lambda *a: contextlib.suppress(BaseException))",
        }.items()
    },
    "the tests' code with names of its own": _FRAMES
    + """
import types
def f():
    for item in getattr(found("Session"), "items", ()):
        if isinstance(item.obj, types.FunctionType):
            names = {**item.obj.__globals__, "@kelp_checks": types.SimpleNamespace(same=lambda *a: True)}
            item.obj = types.FunctionType(item.obj.__code__, names)
    return 2
g = f
""",
    "equal to anything": ALWAYS.format(base="") + "def f():\n    return Always()\ng = f",
    "an int equal to anything": ALWAYS.format(base="(int)") + "def f():\n    return Always()\ng = f",
    "the mock that equals anything": "from unittest.mock import ANY\ndef f():\n    return ANY\ng = f",
}


def _gets(body: str, before: str = "") -> str:
    """A program whose answer is right only if nothing in the body went wrong."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return f"import os, socket, ctypes, signal, sys, threading, time\n{before}\ndef f():\n{lines}\n    return 1\n"


_LIBC = "libc = ctypes.CDLL(None, use_errno=True)\ndef call(*a):\n    if libc.syscall(*a) < 0: raise OSError(ctypes.get_errno(), 'no')"

# Those that never end: run with a short limit.
ENDLESS = {
    "a loop": "def f():\n    while True: pass",
    "a loop while loading": "while True: pass",
    "a regular expression": "import re\ndef f():\n    return re.match('(a+)+$', 'a' * 64 + 'b')",
    "a power": "def f():\n    return 3 ** 3 ** 20",
    "a sum": "def f():\n    return sum(range(10 ** 15))",
    "a sort": "def f():\n    return sorted(iter(int, 1))",
    "a search of a long text": "def f():\n    return ('a' * 10 ** 7).count('a' * 10 ** 6 + 'b' + 'a' * 10 ** 6) if 0 else max(iter(int, 1))",
    "every signal is masked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\n"
    "for n in range(1, 64):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ndef f():\n    while True: pass",
    "a thread that never ends": "import threading\ndef f():\n    threading.Event().wait()",
    "an endless finally": "def f():\n    while True:\n        try: raise KeyboardInterrupt\n        except BaseException: pass",
    "sleep": "import time\ndef f():\n    time.sleep(10 ** 6)",
    "an output of 1 GB": "import os\ndef f():\n    for _ in range(1024): os.write(1, b'x' * 2 ** 20)\n    while True: os.write(2, b'x' * 2 ** 20)",
    "a flood of reports": 'import os\ndef f():\n    while True:\n        for n in range(3, 64):\n            try: os.write(n, b\'{"event": "line", "line": 1}\\n\' * 999)\n            except OSError: pass',
    "a repr that never ends": "class C:\n    def __repr__(self):\n        while True: pass\ndef f():\n    return C()",
}

EFFECT = {
    # memory, disk, processes, threads
    "a list of a terabyte": _gets("[0] * 10 ** 11"),
    "growing bytes": _gets("b = b'x'\nwhile True: b += b"),
    "anonymous memory": _gets("import mmap\n[mmap.mmap(-1, 2 ** 28) for _ in range(64)]"),
    "shared memory": _gets("from multiprocessing import shared_memory as s\ns.SharedMemory(create=True, size=2 ** 30)"),
    "a memory file": _gets("n = os.memfd_create('x')\nfor _ in range(4096): os.write(n, b'x' * 2 ** 20)"),
    "a file of many gigabytes": _gets("with open('x', 'wb') as x:\n    for _ in range(4096): x.write(b'x' * 2 ** 20)"),
    "a sparse file": _gets("with open('x', 'wb') as x: os.truncate('x', 2 ** 40)"),
    "many descriptors": _gets("[open('/dev/null') for _ in range(9999)]"),
    "a fork bomb": _gets("while True: os.fork()"),
    "a fork bomb by multiprocessing": _gets(
        "import multiprocessing as m\n[m.get_context('fork').Process(target=f).start() for _ in '12']"
    ),
    "a subprocess": _gets("import subprocess\nsubprocess.run(['true'], check=True)"),
    "os.system": _gets("assert os.system('true') == 0"),
    "posix_spawn": _gets("os.posix_spawn('/bin/true', ['true'], {})"),
    "a double fork with setsid": _gets(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n    os._exit(0)"
    ),
    "a flood of threads": _gets("for _ in range(10 ** 5): threading.Thread(target=time.sleep, args=(99,)).start()"),
    "deep recursion": _gets("f()"),
    "recursion without a limit": _gets("sys.setrecursionlimit(10 ** 9)\nf()"),
    "recursion in C": _gets("sys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6): x = [x]\nrepr(x)"),
    "a zip bomb": _gets(
        "import zlib\nd = zlib.compressobj()\nz = b''.join(d.compress(bytes(2 ** 20)) for _ in range(2048)) + d.flush()\nzlib.decompress(z)"
    ),
    "a pickle bomb": _gets(
        "import pickle\npickle.loads(b'\\x80\\x04]' + b'2' * 0 + b'(' + b'K\\x00' * 10 ** 5 + b'l.' )\n"
        "a = ['x'] * 10 ** 5\nfor _ in range(20): a = a + a\npickle.dumps(a)"
    ),
    "a pickle that starts a shell": _gets(
        "import pickle\nassert pickle.loads(b\"cos\\nsystem\\n(S'true'\\ntR.\") == 0"
    ),
    # files
    "writes beside": _gets("open('CANARY/new', 'w').close()"),
    "writes over": _gets("open('CANARY/kept', 'w').close()"),
    "appends": _gets("open('CANARY/kept', 'a').close()"),
    "removes": _gets("os.remove('CANARY/kept')"),
    "renames": _gets("os.rename('CANARY/kept', 'CANARY/gone')"),
    "moves something out": _gets("open('x', 'w').close()\nos.rename('x', 'CANARY/moved')"),
    "links out": _gets("open('x', 'w').close()\nos.link('x', 'CANARY/linked')"),
    "links in and writes": _gets("os.link('CANARY/kept', 'x')\nopen('x', 'w').close()"),
    "a symbolic link out of the scratch folder": _gets("os.symlink('CANARY', 'out')\nopen('out/new', 'w').close()"),
    "a path with ..": _gets("open(os.path.relpath('CANARY') + '/new', 'w').close()"),
    "a folder opened before": _gets(
        "d = os.open('CANARY', os.O_PATH | os.O_DIRECTORY)\nos.open('new', os.O_CREAT | os.O_WRONLY, dir_fd=d)"
    ),
    "truncates": _gets("os.truncate('CANARY/kept', 0)"),
    "changes a mode": _gets("os.chmod('CANARY/kept', 0o777)"),
    "changes a folder's mode": _gets("os.chmod('CANARY', 0o777)"),
    "changes a mode by descriptor": _gets("os.fchmod(os.open(os.__file__, os.O_RDONLY), 0o644)"),
    "changes an owner": _gets("os.chown('CANARY/kept', os.getuid(), os.getgid())"),
    "changes times": _gets("os.utime('CANARY/kept', (1, 1))"),
    "sets an attribute": _gets("os.setxattr('CANARY/kept', 'user.kelp', b'x')"),
    "makes a pipe": _gets("os.mkfifo('CANARY/pipe')"),
    "makes a folder": _gets("os.mkdir('CANARY/folder')"),
    "a home of its own": _gets("import pwd\nopen(pwd.getpwuid(os.getuid()).pw_dir + '/kelp-was-here', 'w').close()"),
    "the root's home": _gets("open('/root/kelp-was-here', 'w').close()"),
    "shared memory by name": _gets("open('/dev/shm/kelp-was-here', 'w').close()"),
    "the temporary folder": _gets("open('/tmp/kelp-was-here', 'w').close()"),
    "mounts": _gets(_LIBC.replace("\n", "\n") + "\ncall(165, b'none', b'.', b'tmpfs', 0, 0)"),
    "a new root": _gets("os.chroot('.')"),
    # reading what is none of its business
    "/etc/passwd": _gets("open('/etc/passwd').read()"),
    "/etc/passwd through a link": _gets("os.symlink('/etc/passwd', 'x')\nopen('x').read()"),
    "the account database": _gets("import pwd\npwd.getpwuid(0)"),
    "a file beside": _gets("open('CANARY/kept').read()"),
    "a folder's names": _gets("os.listdir('CANARY')"),
    "the environment": _gets("assert 'SECRET' in os.environ.get('KELP_CANARY', '')"),
    "the parent's environment": _gets("open('/proc/PARENT/environ').read()"),
    "its own first environment": _gets("assert b'KELP_CANARY' in open('/proc/self/environ', 'rb').read()"),
    "its own memory": _gets("open('/proc/self/mem', 'r+b').seek(4096)"),
    "its own memory's map": _gets("open('/proc/self/maps').read()"),
    "another's memory": _gets("open('/proc/PARENT/mem', 'rb')"),
    # doors of the kernel
    **{
        f"datagrams to a socket by its path: {name}": _gets(f"a, b = socket.socketpair(socket.AF_UNIX, {kind})\n{send}")
        for name, kind, send in (
            ("sendto", "socket.SOCK_DGRAM", "a.sendto(b'x', 'CANARY/socket')"),
            ("sendmsg", "socket.SOCK_DGRAM", "a.sendmsg([b'x'], [], 0, 'CANARY/socket')"),
            (
                "a descriptor",
                "socket.SOCK_DGRAM",
                "import array\na.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))], 0, 'CANARY/socket')",
            ),
            ("connected", "socket.SOCK_DGRAM | socket.SOCK_NONBLOCK", "a.connect('CANARY/socket')\na.send(b'x')"),
            ("a stream", "socket.SOCK_STREAM", "a.connect('CANARY/socket')\na.send(b'x')"),
            ("a stream that sends", "socket.SOCK_STREAM", "a.sendto(b'x', 'CANARY/socket')"),
        )
    },
    "many memory files": _gets("for _ in range(100):\n    n = os.memfd_create('x')\n    os.write(n, bytes(15 << 20))"),
    "a call by number: memfd_secret": _gets(_LIBC + "\ncall(447, 0)"),
    "a call by number: shmget": _gets(_LIBC + "\ncall(29, 0, 2 ** 30, 0o1600)"),
    "a call by number: inotify": _gets(_LIBC + "\ncall(294, 0)"),
    "a call by number: fanotify": _gets(_LIBC + "\ncall(300, 0, 0)"),
    "a lease on a file": _gets(
        "import fcntl\nfcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)"
    ),
    "notices of a folder": _gets(
        "import fcntl\nfcntl.fcntl(os.open(os.path.dirname(os.__file__), os.O_RDONLY), 1026, 1)"
    ),
    "flags of a file": _gets(
        "import fcntl, struct\nfcntl.ioctl(os.open(os.__file__, os.O_RDONLY), 0x40086602, struct.pack('l', 0))"
    ),
    # other processes
    "kills its parent": _gets("os.kill(os.getppid(), 9)"),
    "kills everything": _gets("os.kill(-1, 9)"),
    "kills the tests": _gets("os.kill(PARENT, 9)"),
    "kills its group's leader": _gets("os.killpg(os.getppid() or 1, 9)"),
    "limits its parent": _gets(
        "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (10 ** 6, 10 ** 6))"
    ),
    "takes its parent's priority": _gets("os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)"),
    "takes everybody's priority": _gets("os.setpriority(os.PRIO_USER, 0, 1)"),
    "takes its parent's processors": _gets("os.sched_setaffinity(os.getppid(), {0})"),
    "has the kernel signal its parent": _gets(
        "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)"
    ),
    "has the kernel signal its parent, by ioctl": _gets(
        "import fcntl, struct\nfcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', os.getppid()))"
    ),
    "traces its parent": _gets(_LIBC + "\ncall(101, 16, os.getppid(), 0, 0)"),
    "reads another process": _gets(_LIBC + "\ncall(310, PARENT, 0, 0, 0, 0, 0)"),
    "a call by number: fork": _gets(_LIBC + "\ncall(57)"),
    "a call by number: socket": _gets(_LIBC + "\ncall(41, 2, 1, 0)"),
    "a call by number: clone3": _gets(_LIBC + "\ncall(435, None, 0)"),
    "a call by number: io_uring": _gets(_LIBC + "\ncall(425, 8, ctypes.create_string_buffer(256))"),
    "a call by number: unshare": _gets(_LIBC + "\ncall(272, 0x10000000)"),
    "prctl takes back its rights": _gets(_LIBC + "\nassert libc.prctl(38, 0, 0, 0, 0) == 0"),
    "becomes another user": _gets("os.setuid(12345)\nos.setgid(12345)"),
    "raises its limits": _gets("import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (9999, 9999))"),
    # what is open where there are namespaces
    "a daemon that ignores signals and closes everything": _gets(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    for n in range(1, 64):\n"
        "        try: signal.signal(n, signal.SIG_IGN)\n        except (OSError, ValueError): pass\n"
        "    os.closerange(0, 256)\n    os.environ.clear()\n    os.execve('/bin/sleep', ['sleep', '99'], {})"
    ),
    "shared memory that stays": _gets("open('/dev/shm/kelp-was-here', 'w').write('x')"),
    "an abstract socket": _gets("socket.socket(socket.AF_UNIX).bind('\\0kelp-PORT')"),
    "a socket by its path: datagrams": _gets(
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', 'CANARY/socket')"
    ),
    "a socket by its path: a stream": _gets("socket.socket(socket.AF_UNIX).connect('CANARY/socket')"),
    "another program writes": _gets("import subprocess\nsubprocess.run(['touch', 'CANARY/new'], check=True)"),
    "another program connects": _gets(
        "import subprocess\nsubprocess.run(['bash', '-c', '</dev/tcp/127.0.0.1/PORT'], check=True)"
    ),
    "another program reads": _gets("import subprocess\nsubprocess.run(['cat', 'CANARY/kept'], check=True)"),
    "another program makes namespaces": _gets(
        "import subprocess\nsubprocess.run(['unshare', '-Urm', 'true'], check=True)"
    ),
    "the keeper's link": _gets(
        "for n in range(3, 256):\n    try: os.write(n, b'\\0\\0\\0\\2{}')\n    except OSError: pass\nassert n < 0"
    ),
    "the roots of other processes": _gets("os.listdir('/proc/1/root')"),
    "settings of the kernel": _gets("open('/proc/sys/net/ipv4/tcp_max_tw_buckets', 'w').write('9')"),
    "a clone in a user namespace": _gets(
        _LIBC + "\nhere = os.getpid()\ncall(56, 0x10000011, 0, 0, 0, 0)\nif os.getpid() != here: os._exit(0)"
    ),
    "a pivot": _gets(_LIBC + "\ncall(155, b'.', b'.')"),
    "unmounts": _gets(_LIBC + "\ncall(166, os.getcwd().encode(), 2)"),
    "traces a child": _gets(_LIBC + "\nchild = os.fork()\nif child == 0: time.sleep(9)\ncall(101, 16, child, 0, 0)"),
    "memory of many processes": _gets(
        "for _ in range(16):\n    if os.fork() == 0:\n        b = b'x' * 2 ** 27\n        time.sleep(9)\ntime.sleep(9)"
    ),
    "memory of many sockets": _gets(
        "for _ in range(16):\n    if os.fork() == 0:\n        pairs = [socket.socketpair() for _ in range(100)]\n"
        "        for a, b in pairs:\n            a.setblocking(False)\n            try:\n                while True: a.send(bytes(2 ** 16))\n"
        "            except OSError: pass\n        time.sleep(9)\ntime.sleep(9)"
    ),
    "a fork bomb that never gives up": _gets("while True:\n    try: os.fork()\n    except OSError: pass"),
    # the network
    **{
        f"a socket: {name}": _gets(f"s = socket.socket({family})\ns.{verb}")
        for name, family, verb in (
            ("TCP", "socket.AF_INET", "connect(('127.0.0.1', PORT))"),
            ("UDP", "socket.AF_INET, socket.SOCK_DGRAM", "sendto(b'x', ('127.0.0.1', PORT))"),
            ("TCP over IPv6", "socket.AF_INET6", "connect(('::1', PORT))"),
            ("raw", "socket.AF_INET, socket.SOCK_RAW, 1", "close()"),
            ("a path", "socket.AF_UNIX", "bind('s')"),
            ("an abstract name", "socket.AF_UNIX, socket.SOCK_DGRAM", "connect('\\0kelp-PORT')"),
            ("netlink", "socket.AF_NETLINK, socket.SOCK_RAW", "close()"),
            ("packets", "socket.AF_PACKET, socket.SOCK_RAW", "close()"),
            ("the kernel's crypto", "socket.AF_ALG, socket.SOCK_SEQPACKET", "close()"),
            ("a virtual machine's", "socket.AF_VSOCK, socket.SOCK_STREAM", "close()"),
            ("Bluetooth", "31, socket.SOCK_RAW, 1", "close()"),
        )
    },
    "a socket by urllib": _gets("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:PORT/', timeout=1)"),
    "a name is looked up": _gets(
        "socket.getaddrinfo('localhost', 80)[0] and socket.create_connection(('localhost', PORT))"
    ),
    "asyncio serves": _gets(
        "asyncio.run(serve())",
        "import asyncio\nasync def serve():\n    (await asyncio.start_server(print, '127.0.0.1', 0)).sockets[0]",
    ),
}

# Programs of `EFFECT` that may succeed where runs have namespaces: their effects stay inside and end with the run.
CONTAINED = {
    "a fork bomb by multiprocessing",
    "a subprocess",
    "os.system",
    "posix_spawn",
    "a double fork with setsid",
    "a pickle that starts a shell",
    "a home of its own",
    "shared memory by name",
    "/etc/passwd",
    "/etc/passwd through a link",
    "the account database",
    "kills its parent",
    "has the kernel signal its parent",
    "has the kernel signal its parent, by ioctl",
    "a call by number: fork",
    "a call by number: socket",
    "a socket: UDP",
    "a socket: a path",
    "asyncio serves",
    "a daemon that ignores signals and closes everything",
    "shared memory that stays",
    "an abstract socket",
}

# What the first leaves behind must not reach the second, which looks for it: it gives 1 if it finds any of it.
LEAVES = """
import builtins, importlib.machinery, math, os, random, signal, sys, types, warnings, threading, logging, atexit
sys.modules["left"] = types.ModuleType("left")
sys.modules["json"] = types.ModuleType("json")
class Finder:
    def find_spec(self, name, path=None, target=None): raise ImportError("poisoned")
sys.meta_path.insert(0, Finder())
sys.path_hooks.insert(0, Finder)
sys.path_importer_cache.clear()
sys.path.insert(0, "/left")
builtins.left, builtins.len = 1, None
math.pi = 3
os.environ["LEFT"] = "x"
random.random = lambda: 0.5
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.umask(0)
os.chdir("/")
open(os.environ["HOME"] + "/left", "w").close()
try:
    open("/dev/shm/left", "w").close()
    if os.fork() == 0:
        os.setsid()
        import socket, time
        server = socket.create_server(("127.0.0.1", 18181))
        time.sleep(99)
except OSError:
    pass
sys.setrecursionlimit(50000)
threading.stack_size(2 ** 20)
def f():
    return 1
"""
LOOKS = """
import builtins, json, math, os, random, signal, socket, sys
def served():
    try: return bool(socket.create_connection(("127.0.0.1", 18181), 1))
    except OSError: return False
def f():
    found = [
        served(), os.path.exists("/dev/shm/left"),
        "left" in sys.modules, not hasattr(json, "dumps"), any(type(x).__name__ == "Finder" for x in sys.meta_path),
        "/left" in sys.path, hasattr(builtins, "left"), builtins.len is None, math.pi == 3, "LEFT" in os.environ,
        random.random() == 0.5, signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, os.umask(18) == 0,
        os.getcwd() == "/", os.path.exists(os.environ["HOME"] + "/left"), sys.getrecursionlimit() == 50000,
    ]
    return 1 if any(found) else [found, os.listdir(os.environ["HOME"])]
"""
STAND_IN = (
    _FRAMES + "def f():\n    for i in found('Session').items: i.obj = found('Session').items[0].obj\n    return 2\n"
)
