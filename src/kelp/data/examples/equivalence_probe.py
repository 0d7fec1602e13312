"""Probe that runs in the sandbox: decides whether pieces of code agree on the same random values.

This file is sent as a program, so it imports nothing of Kelp. `verdicts` is the entry point.

Names that a piece reads get values of builtin types, drawn anew for each trial; a name that is called is a function
that records its calls, and a name with attributes that no builtin type has is a generated object. Trials in which the
origin raises a type error are no evidence and do not count.
"""

import ast
import builtins
import itertools
import random
import signal
import symtable
import warnings
from collections.abc import Callable, Iterator
from typing import Any

TRIALS = 200
SUFFICIENT_TRIALS = 24  # with values of mixed kinds, in which the origin finished; no more are needed
MIN_TRIALS = 6  # fewer decide nothing
SECONDS = 1.0  # processor time per question
WRONG_TYPE = (TypeError, AttributeError, NameError)
MAKERS: dict[str, Callable[[random.Random], Any]] = {
    "int": lambda rng: rng.choice((0, 1, 2, 3, 4, 5, 7, 10, -1, -2)),
    # Sums of these are rounded.
    "float": lambda rng: rng.choice((0.0, 0.1, 0.7, 2.0**53, -(2.0**53), *(rng.uniform(-9, 9) for _ in range(4)))),
    "str": lambda rng: rng.choice(("", "a", "b", "ab", "ba", "abc", "aab", "Hello", " x", "7", "a,b")),
    "ints": lambda rng: [rng.randint(-2, 5) for _ in range(rng.randint(0, 4))],
    "strs": lambda rng: [rng.choice(("", "a", "b", "ab", "7")) for _ in range(rng.randint(0, 4))],
    "lists": lambda rng: [[rng.randint(0, 3) for _ in range(rng.randint(0, 3))] for _ in range(rng.randint(0, 3))],
    "pairs": lambda rng: [(rng.randint(0, 3), rng.choice("ab")) for _ in range(rng.randint(0, 3))],
    "tuple": lambda rng: tuple(rng.randint(-2, 5) for _ in range(rng.randint(0, 3))),
    "set": lambda rng: {rng.randint(0, 4) for _ in range(rng.randint(0, 4))},
    "dict": lambda rng: {rng.choice("abc"): rng.randint(0, 4) for _ in range(rng.randint(0, 3))},
    "numbered": lambda rng: {rng.randint(0, 4): rng.randint(0, 4) for _ in range(rng.randint(0, 3))},
    "bool": lambda rng: rng.random() < 0.5,
    "None": lambda rng: None,
}
UNIFORM = (*MAKERS, "float", "float", "float", "int") * 4  # first trials: values of one kind; sums discriminate late
WEIGHTS = {"int": 4.0, "str": 2.0, "ints": 2.0, "float": 1.0, "strs": 1.0, "dict": 1.0, "None": 0.5}
CONTAINERS = ("str", "ints", "strs", "lists", "pairs", "tuple", "dict", "numbered")
OF_CONTAINERS = ("len", "sorted", "sum", "any", "all", "enumerate")
SAMPLES = {kind: make(random.Random(0)) for kind, make in MAKERS.items()}
CLASSES = (int, str, list, dict, (list, tuple))


class Unknown(Exception):
    """Raised for a value that cannot be compared."""


class TimeIsUp(BaseException):
    """Raised when the time is used up."""


def verdicts(how: str, origin: str, others: tuple[str, ...]) -> str:
    """One sign per candidate: `=` agrees with the origin in all trials, `!` differs, `?` unknown.

    how: "value" compares values, "truth" their truth, "statement" the names and effects that statements leave.
    """

    def stop(*_: object) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compare(how, origin, others)
    except (TimeIsUp, RecursionError, MemoryError, SyntaxError):
        return "?" * len(others)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def compare(how: str, origin: str, others: tuple[str, ...]) -> str:
    reads = Reads(origin)
    first = Piece(how, origin, reads)
    pieces = [Piece(how, other, reads) for other in others]
    same = [True] * len(others)
    ended, mixed, outcomes = 0, 0, set()
    for trial in range(TRIALS):
        try:
            expected = first.outcome(trial)
        except Unknown:
            return "?" * len(others)
        if expected is None:
            continue
        if expected[0] != "raised":
            ended += 1
            mixed += trial >= len(UNIFORM)
            outcomes.add(repr(expected))
        for i, piece in enumerate(pieces):
            if same[i]:
                try:
                    same[i] = piece.outcome(trial) == expected
                except Unknown:
                    same[i] = False
        if mixed == SUFFICIENT_TRIALS or (not reads.names and trial):
            break
    decided = ended >= MIN_TRIALS and len(outcomes) > 1 if reads.names else ended > 0
    return "".join("!" if not it else "=" if decided else "?" for it in same)


class Reads:
    """Names that a piece reads, and the kinds of value that they may have."""

    def __init__(self, text: str) -> None:
        tree = ast.parse(enclosed(text, ""))
        self.names = sorted(outside_names(enclosed(text, "")))
        nodes = list(ast.walk(tree))
        callees = [node.func for node in nodes if isinstance(node, ast.Call)]
        self.called = {callee.attr for callee in callees if isinstance(callee, ast.Attribute)}
        self.kinds: dict[str, tuple[str, ...]] = {}
        attributes: dict[str, set[str]] = {}
        for node in nodes:
            match node:
                case ast.Call(func=ast.Name(id="isinstance"), args=[_, classes]):
                    for part in ast.walk(classes):
                        if isinstance(part, ast.Name):
                            self.kinds[part.id] = ("class",)
                case ast.Call(func=ast.Name(id=callee), args=[ast.Name(id=name)]) if callee in OF_CONTAINERS:
                    self.kinds.setdefault(name, CONTAINERS)
                case ast.Call(func=ast.Name(id=name)):
                    self.kinds[name] = ("function",)
                case ast.Subscript(value=ast.Name(id=name)):
                    self.kinds.setdefault(name, CONTAINERS)
                case ast.For(iter=ast.Name(id=name)) | ast.comprehension(iter=ast.Name(id=name)):
                    self.kinds.setdefault(name, CONTAINERS)
                case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                    attributes.setdefault(name, set()).add(attribute)
        for name, wanted in attributes.items():
            having = tuple(kind for kind, value in SAMPLES.items() if all(hasattr(value, one) for one in wanted))
            self.kinds[name] = having if having and name not in ("self", "cls") else ("thing",)

    def draw(self, trial: int, log: list[Any]) -> dict[str, Any]:
        """Values for the names, equal within a trial."""
        rng, main = random.Random(trial), main_kind(trial)
        return {name: self.value(name, main, rng, trial, log) for name in self.names}

    def value(self, name: str, main: str | None, rng: random.Random, trial: int, log: list[Any]) -> Any:
        kinds = self.kinds.get(name)
        if kinds == ("function",):
            return Function(name, self, trial, log)
        if kinds == ("thing",):
            return AnyObject(name, self, trial, log)
        if kinds == ("class",):
            return rng.choice(CLASSES)
        if main is not None and (kinds is None or main in kinds):
            return MAKERS[main](rng)
        choices = kinds or tuple(MAKERS)
        return MAKERS[rng.choices(choices, [WEIGHTS.get(kind, 0.4) for kind in choices])[0]](rng)

    def made_up(self, path: str, trial: int) -> Any:
        """Generated value for an unknown attribute, equal for equal paths within a trial."""
        return self.value("", main_kind(trial), random.Random(f"{trial} {path}"), trial, [])


def main_kind(trial: int) -> str | None:
    """Kind of all values in the first trials, each kind in turn."""
    return UNIFORM[trial] if trial < len(UNIFORM) else None


class Function:
    """Function that records its calls and returns equal values for equal arguments."""

    def __init__(self, path: str, reads: Reads, trial: int, log: list[Any]) -> None:
        self._path, self._reads, self._trial, self._log = path, reads, trial, log

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = f"{self._path}{plain(args)}{plain(kwargs)}"
        self._log.append(call)
        return self._reads.made_up(call, self._trial)


class AnyObject:
    """Object with every attribute: a function if it is called anywhere, else a value."""

    def __init__(self, path: str, reads: Reads, trial: int, log: list[Any]) -> None:
        self.__dict__ |= {"_path": path, "_reads": reads, "_trial": trial, "_log": log}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._path}.{name}"
        if name in self._reads.called:
            value: Any = Function(path, self._reads, self._trial, self._log)
        else:
            value = self._reads.made_up(path, self._trial)
        self.__dict__[name] = value
        return value


class Piece:
    """Compiled piece of code."""

    def __init__(self, how: str, text: str, reads: Reads) -> None:
        self.how, self.reads = how, reads
        self.code = compile(text if how != "statement" else enclosed(text, ", ".join(reads.names)), "<piece>",
                            "eval" if how != "statement" else "exec", dont_inherit=True)  # fmt: skip

    def outcome(self, trial: int) -> tuple[Any, ...] | None:
        """Outcome of a run: exit, value and effects; None if the trial is no evidence. Raises Unknown."""
        log: list[Any] = []
        values = self.reads.draw(trial, log)
        space = dict(values) | {"__log__": log}
        how, result = "gave", None
        try:
            if self.how == "statement":
                exec(self.code, space)
                result = plain(space["__piece__"]())
            else:
                value = eval(self.code, space)
                result = plain(bool(value) if self.how == "truth" else value)
        except Unknown:
            raise
        except WRONG_TYPE:
            return None
        except Exception as error:
            return ("raised", type(error).__name__)
        names = [(plain(space.get(name)), plain(value)) for name, value in values.items()]  # (now, before) of each name
        return (how, result, names, tuple(log))


def enclosed(text: str, names: str) -> str:
    """Enclose a statement in a loop in a function, so that any statement is legal and its exit is visible."""
    shared = [f"    global {names}"] if names else []
    inside = ["__log__.append('turn')", *text.split("\n"), "__log__.append('through')"]
    return "\n".join(
        ["def __piece__():", *shared, "    for __turn__ in (0, 1):", *("        " + line for line in inside)]
    )


def outside_names(text: str) -> set[str]:
    """Names that a piece reads or writes outside its own scopes, without builtins."""
    names: set[str] = set()
    [table] = symtable.symtable(text, "<piece>", "exec").get_children()
    own = {s.get_name() for s in table.get_symbols()} - {"__turn__", "__log__"}
    tables = table.get_children()
    while tables:
        inner = tables.pop()
        tables += inner.get_children()
        own |= {s.get_name() for s in inner.get_symbols() if s.is_global()}
    names |= {name for name in own if not hasattr(builtins, name)}
    return names


def plain(value: Any, depth: int = 6) -> Any:
    """Value as text with its types; iterators are consumed. Raises Unknown if it cannot be compared."""
    if depth == 0:
        raise Unknown
    if value is None or isinstance(value, int | float | str | bytes | complex | type):
        return repr(value)
    if isinstance(value, list | tuple):
        return type(value).__name__ + repr([plain(item, depth - 1) for item in value])
    if isinstance(value, set | frozenset):
        return type(value).__name__ + repr(sorted(plain(item, depth - 1) for item in value))
    if isinstance(value, dict):
        return "dict" + repr([(plain(k, depth - 1), plain(v, depth - 1)) for k, v in value.items()])
    if isinstance(value, AnyObject | Function):
        return f"<{value._path}>"
    if isinstance(value, range):
        return repr(list(value[:64]))
    if isinstance(value, Iterator):
        return "iterator" + repr([plain(item, depth - 1) for item in itertools.islice(value, 64)])
    if type(value) in (type({}.keys()), type({}.values()), type({}.items())):
        return type(value).__name__ + repr([plain(item, depth - 1) for item in value])
    raise Unknown
