"""Guess calls for a function nobody told us how to call, from its names, annotations, defaults and body.

Each parameter gets scores for the kinds of value it may take; an *assignment* gives every parameter one kind; a
call draws one value of its kind for every parameter. Which assignment is right is found out by calling.
"""

import ast
import contextlib
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kelp.data.decontaminate import FunctionNode

VALUES: dict[str, tuple[str, ...]] = {
    "int": ("2", "3", "0", "1", "5", "-1", "10", "7", "12", "-4", "25", "100"),
    "float": ("1.5", "0.0", "-2.5", "3.0", "0.25", "10.0"),
    "bool": ("True", "False"),
    "None": ("None",),
    "str": (
        "'hello world'", "'abc'", "''", "'a'", "'Hello, World!'", "'racecar'", "'aabbc'", "'12'", "'a-b_c d'",
        "'The quick brown fox'", "'one, two;three'", "'XyZ'", "'  padded '", "'3.14'", "'a=1'", "'line one\\nline two'",
    ),
    "char": ("'a'", "'b'", "' '", "'z'", "'A'", "'7'", "','", "'l'"),
    "bytes": ("b'abc'", "b''", "b'\\x00\\xff'", "b'hello world'"),
    "ints": (
        "[3, 1, 2]", "[]", "[1, 2, 3, 4, 5]", "[7]", "[5, -2, 0, 5]", "[2, 2, 1]", "[-3, -1, -2]", "[10, 20, 15, 30]",
        "[0, 1, 0, 1]", "[4, 8, 6, 1, 9, 2]",
    ),
    "strs": (
        "['b', 'a', 'c']", "[]", "['apple', 'fig', 'banana']", "['x']", "['a', 'b', 'a']", "['Hello', 'world', '']",
        "['ab', 'abc', 'abd']",
    ),
    "floats": ("[1.5, 2.5]", "[0.0, 1.0, 2.0]", "[-1.0, 0.5]", "[]"),
    "bools": ("[True, False]", "[True, True]", "[]"),
    "matrix": (
        "[[1, 2], [3, 4]]", "[[0, 1], [1, 0]]", "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]", "[[2]]", "[[1, 0, 2], [0, 3, 1]]",
        "[]",
    ),
    "grid": ("[['a', 'b'], ['c', 'd']]", "[['x', 'o', 'x'], ['o', 'x', 'o'], ['x', 'x', 'o']]", "[['1', '0']]"),
    "pairs": ("[(1, 'a'), (2, 'b')]", "[(3, 4), (1, 2)]", "[]", "[('b', 2), ('a', 1), ('b', 3)]"),
    "intervals": ("[[1, 3], [2, 6], [8, 10]]", "[(0, 5), (5, 7)]", "[]", "[(1, 2), (3, 4)]"),
    "int_tuple": ("(1, 2)", "(3, 1, 2)", "()", "(0, -1)", "(5,)"),
    "dict": ("{'a': 1, 'b': 2}", "{}", "{'x': 10}", "{1: 2, 3: 4}", "{'a': {'b': 1}, 'c': [2]}", "{'b': 2, 'a': 3}"),
    "dicts": ("[{'a': 1}, {'a': 2}]", "[]", "[{'a': 1, 'b': 2}, {'a': 3, 'b': 1}]"),
    "graph": (
        "{'a': ['b', 'c'], 'b': ['d'], 'c': ['d'], 'd': []}", "{0: [1], 1: [2], 2: [0]}", "{'a': []}",
        "{1: [2, 3], 2: [1], 3: [1]}",
    ),
    "set": ("{1, 2, 3}", "set()", "{2, 4}", "{3}"),
    "func": ("lambda x: x + 1", "lambda x: x % 2 == 0", "lambda x: x * x", "str", "bool"),
    "func2": ("lambda a, b: a + b", "max", "lambda a, b: a * b", "lambda a, b: a - b"),
    "func0": ("lambda: 1", "list"),
    "type": ("int", "str"),
}  # fmt: skip

# Words of parameter names; the first pattern that fits counts.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"func|fn|f|callback|callable|predicate|pred|mapper|iteratee|transform", "func"),
    (r"op|operator|binop|reducer|combine", "func2"),
    (r"factory|thunk", "func0"),
    (r"(is|has|use|with|allow|strict|reverse|ignore|keep|include|verbose)(_.*)?|flag|bool", "bool"),
    (r"matrix|mat|grid|board|maze|rows|table|image|lists|m[12]", "matrix"),
    (r"graph|adj|adjacency|edges_of|neighbou?rs", "graph"),
    (r"pairs|tuples|edges|points|coords", "pairs"),
    (r"intervals|ranges|spans", "intervals"),
    (r"dict|d|mapping|obj|config|options|params|kwargs|env|attrs|headers|d[12]|counts", "dict"),
    (r"records|objs|dicts", "dicts"),
    (r"sets?|seen|visited", "set"),
    (r"words|strings|names|lines|tokens|parts|args|argv|keys|texts|labels|strs|paths|fields", "strs"),
    (r"char|ch|c|letter|sep|separator|delimiter|delim|prefix|suffix|fill", "char"),
    (
        r"s|st|str|string|text|word|name|line|path|sentence|msg|message|title|label|url|filename|pattern|value_str|s[12]"
        r"|str[12]|html|source|phrase|token|key|address|version|expr|expression|ip|date|roman|plaintext|binary|word[12]",
        "str",
    ),
    (r"data|b|buf|buffer|raw|blob|bytes", "bytes"),
    (
        r"l|lst|list|arr|array|items|seq|sequence|iterable|it|xs|ys|nums|numbers|values|vals|elements|iterables|a|list[12]"
        r"|l[12]|arr[12]|array[12]|nums[12]|coll|collection|ints|weights|prices|heights|stack|queue|heap|poly|v|vec|vector",
        "ints",
    ),
    (r"tup|tuple|shape|point|pos|coord|size|version_info|p[12]", "int_tuple"),
    (
        r"n|k|m|i|j|x|y|z|p|q|r|t|w|h|num|number|count|size|index|idx|start|stop|end|step|low|high|lo|hi|left|right|width"
        r"|height|length|limit|target|year|month|day|hours?|minutes?|seconds?|base|exp|exponent|digits?|max|min|val|value"
        r"|depth|level|amount|total|offset|position|pos|bits?|mod|modulus|e|b|a|num[12]|n[12]|x[12]|y[12]|size|times|age"
        r"|row|col|rank|order|degree|prime|limit|maximum|minimum|number[12]|int|integer|bound|c",
        "int",
    ),
    (r"rate|ratio|alpha|beta|epsilon|eps|tol|angle|theta|radius|probability|lat|lon|float|weight|price", "float"),
)  # fmt: skip
_ANNOTATIONS = {
    "int": "int", "float": "float", "str": "str", "bool": "bool", "bytes": "bytes", "list": "ints", "dict": "dict",
    "set": "set", "tuple": "int_tuple", "Callable": "func", "Iterable": "ints", "Sequence": "ints", "Mapping": "dict",
    "Iterator": "ints", "Collection": "ints", "List": "ints", "Dict": "dict", "Set": "set", "Tuple": "int_tuple",
    "None": "None", "frozenset": "set", "Number": "int", "type": "type",
}  # fmt: skip
_STR_METHODS = frozenset(m for m in dir(str) if not m.startswith("_")) - {"count", "index", "format_map"}
_LIST_METHODS = frozenset({"append", "extend", "insert", "pop", "remove", "sort", "reverse"})
_DICT_METHODS = frozenset({"items", "keys", "values", "get", "setdefault", "update"})
_SET_METHODS = frozenset({"union", "intersection", "difference", "issubset", "add", "discard", "symmetric_difference"})
_SEQUENCE_USERS = frozenset(
    {"len", "sorted", "list", "tuple", "set", "enumerate", "reversed", "iter", "zip", "map", "filter"}
)
_NUMBER_USERS = frozenset(
    {"range", "abs", "round", "chr", "bin", "hex", "sqrt", "floor", "ceil", "isqrt", "divmod", "pow"}
)
_NUMBER_LISTS = frozenset({"sum", "min", "max", "heapify", "mean"})


@dataclass(frozen=True)
class Parameter:
    name: str
    how: str  # "positional", "keyword" or "star"
    required: bool
    kinds: tuple[tuple[str, float], ...]  # likeliest first, with scores


def parameters(function: FunctionNode) -> list[Parameter]:
    """The parameters a call may fill (all but **kwargs), with the kinds of value each seems to take."""
    a = function.args
    positional = [*a.posonlyargs, *a.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(a.defaults))
    listed = [(arg, "positional", d) for arg, d in zip(positional, [*defaults, *a.defaults])]
    listed += [(a.vararg, "star", None)] if a.vararg else []
    listed += [(arg, "keyword", d) for arg, d in zip(a.kwonlyargs, a.kw_defaults)]
    uses = _uses(function, {arg.arg for arg, _, _ in listed})
    return [
        Parameter(arg.arg, how, d is None and how != "star", _kinds(arg, d, uses[arg.arg])) for arg, how, d in listed
    ]


def assignments(params: Sequence[Parameter], limit: int) -> list[tuple[str, ...]]:
    """The likeliest ways to give each parameter a kind, best first."""
    choices = itertools.islice(itertools.product(*(p.kinds[:5] for p in params)), 4000)
    ranked = sorted(choices, key=lambda choice: -sum(score for _, score in choice))
    return [tuple(kind for kind, _ in choice) for choice in ranked[:limit]]


def calls(
    function: FunctionNode, params: Sequence[Parameter], kinds: Sequence[str], rng: random.Random, count: int
) -> list[str]:
    """Up to `count` different call expressions under one assignment."""
    found: dict[str, None] = {}
    own = _literals(function)
    pools = [_pool(kind, own.get(kind, ())) for kind in kinds]
    for attempt in range(3 * count):
        if len(found) == count:
            break
        optional = attempt % 3 == 1  # a third of the calls pass what has a default, too
        arguments = []
        gap = False  # a positional argument left out: those after it cannot be given by position
        for p, pool in zip(params, pools):
            # the first values of a pool are the plainest: the first attempts take those
            value = pool[attempt % len(pool)] if len(params) == 1 else rng.choice(pool[: 3 + attempt])
            if p.how == "star":
                arguments += [] if gap else [value, rng.choice(pool)][: 1 + (attempt % 4 > 0)]
            elif not (p.required or optional):
                gap = gap or p.how == "positional"
            elif p.how == "keyword":
                arguments.append(f"{p.name}={value}")
            else:
                arguments.append(value)
        found.setdefault(f"{function.name}({', '.join(arguments)})")
    return list(found)


def arguments_like(asserts: Sequence[str], name: str, rng: random.Random, count: int) -> list[str]:
    """Arguments, as source, of up to `count` different calls of a function like those in its tests.

    A third are the tests' own, the others have other numbers, letters and lengths in their literals.
    """
    nodes: list[ast.AST] = []
    for line in asserts:
        with contextlib.suppress(SyntaxError, ValueError):
            nodes += ast.walk(ast.parse(line.strip()))
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name]
    found: dict[str, None] = {}
    for n in range(count if calls else 0):
        given = rng.choice(calls)
        parts = [("*", a.value) if isinstance(a, ast.Starred) else ("", a) for a in given.args]
        parts += [(f"{k.arg}=" if k.arg else "**", k.value) for k in given.keywords]
        texts = [(how, ast.unparse(value)) for how, value in parts]
        found.setdefault(", ".join(how + (text if n < count // 3 else _redrawn(text, rng)) for how, text in texts))
    return list(found)


def _redrawn(argument: str, rng: random.Random) -> str:
    """Other numbers, letters and lengths; the argument itself where it is no literal."""
    try:
        value = ast.literal_eval(argument)
        other = _other(value, rng)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return argument
    return argument if other is value else repr(other)


def _other(value: Any, rng: random.Random) -> Any:
    if type(value) is int:
        return rng.choice((0, 1, value, value + rng.randint(-3, 3), rng.randint(-9, 12)))
    if isinstance(value, str) and value:
        return "".join(rng.choices(value + "ab ", k=rng.randint(1, 6)))
    if isinstance(value, list) and value:
        return [_other(rng.choice(value), rng) for _ in range(rng.randint(0, 5))]
    if isinstance(value, tuple):
        return tuple(_other(item, rng) for item in value)
    if isinstance(value, dict):
        return {key: _other(item, rng) for key, item in value.items()}
    return value


def doctest_calls(function: FunctionNode) -> list[str]:
    """The expressions on the docstring's `>>> ` lines that call the function."""
    found = []
    for line in re.findall(r"^\s*>>> (.+)$", ast.get_docstring(function) or "", re.MULTILINE):
        line = line.split("  #")[0].strip()
        try:
            tree = ast.parse(line, mode="eval")
        except SyntaxError:
            continue
        called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        if function.name in called and called.isdisjoint({"print", "next", "input"}):
            found.append(line)
    return found


def returns_iterator(function: FunctionNode) -> bool:
    """Whether what it returns must be listed to be compared."""
    lazy = {"map", "filter", "zip", "iter", "reversed", "enumerate", "chain", "islice", "from_iterable", "starmap",
            "takewhile", "dropwhile", "accumulate", "product", "permutations", "combinations", "zip_longest",
            "compress", "filterfalse", "groupby"}  # fmt: skip
    for node in _own_nodes(function):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if isinstance(node, ast.Return) and node.value is not None:
            value = node.value
            if isinstance(value, ast.GeneratorExp) or (isinstance(value, ast.Call) and _called(value) in lazy):
                return True
    return False


def _own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _kinds(arg: ast.arg, default: ast.expr | None, uses: dict[str, float]) -> tuple[tuple[str, float], ...]:
    scores = defaultdict(float, {"int": 0.3, "ints": 0.2, "str": 0.25, "dict": 0.05})
    for kind, score in uses.items():
        scores[kind] += score
    name = arg.arg.lower().strip("_")
    for pattern, kind in _NAMES:
        if re.fullmatch(pattern, name):
            scores[kind] += 1.5
    words = set(re.split(r"_|\d+", name))
    for pattern, kind in _NAMES:
        if any(re.fullmatch(pattern, word) for word in words if len(word) > 2):
            scores[kind] += 0.7
    if arg.annotation is not None and (annotated := _annotated(ast.unparse(arg.annotation))):
        scores = defaultdict(float, {kind: scores[kind] + 5 for kind in annotated})  # those and no others
    if isinstance(default, ast.Constant):
        scores["None" if default.value is None else type(default.value).__name__] += 2 if default.value is None else 5
    elif isinstance(default, ast.List | ast.Tuple | ast.Dict):
        scores[{"List": "ints", "Tuple": "int_tuple", "Dict": "dict"}[type(default).__name__]] += 5
    elif isinstance(default, ast.UnaryOp):
        scores["int"] += 5
    elif isinstance(default, ast.Name):
        scores["func"] += 3
    return tuple((k, s) for k, s in sorted(scores.items(), key=lambda item: -item[1]) if k in VALUES)


def _annotated(text: str) -> list[str]:
    text = text.strip("'\"").removeprefix("typing.").replace("typing.", "").replace("collections.abc.", "")
    text = re.sub(r" \| None$", "", text)
    if "|" in text and "[" not in text:
        return [kind for part in text.split("|") for kind in _annotated(part.strip())]
    if match := re.fullmatch(r"(?:Optional|Union)\[(.*)\]", text):
        return [kind for part in match[1].split(", ") for kind in _annotated(part)]
    outer, _, inner = text.partition("[")
    if outer in ("list", "List", "Sequence", "Iterable", "Iterator", "Collection", "MutableSequence"):
        if inner.startswith(("list", "List", "Sequence")):
            return ["grid" if "str" in inner else "matrix"]
        if inner.startswith(("tuple", "Tuple")):
            return ["pairs", "intervals"]
        if inner.startswith(("dict", "Dict")):
            return ["dicts"]
        of = {"str": "strs", "float": "floats", "bool": "bools", "int": "ints"}
        return [of[inner.rstrip("]")]] if inner.rstrip("]") in of else ["ints", "strs", "matrix", "pairs"]
    if outer in ("dict", "Dict", "Mapping") and "list" in inner.lower():
        return ["graph", "dict"]
    if outer == "Callable" and inner.startswith("[["):
        return ["func2" if "," in inner.split("]")[0] else "func"]
    return [_ANNOTATIONS[outer]] if outer in _ANNOTATIONS else []


def _uses(function: FunctionNode, names: set[str]) -> dict[str, dict[str, float]]:
    """What the body does with each parameter, as scores for kinds."""
    uses: dict[str, dict[str, float]] = {name: defaultdict(float) for name in names}

    def name_of(node: ast.AST | None) -> str | None:
        return node.id if isinstance(node, ast.Name) and node.id in names else None

    def note(node: ast.AST | None, **scores: float) -> None:
        name = name_of(node)
        if name is not None:
            for kind, score in scores.items():
                uses[name][kind] = max(uses[name][kind], score)

    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method)):
                if method in _STR_METHODS:
                    note(value, str=4, char=1)
                if method in _LIST_METHODS:
                    note(value, ints=3, strs=1)
                if method in _DICT_METHODS:
                    note(value, dict=4, graph=1.5)
                if method in _SET_METHODS:
                    note(value, set=3)
                if method == "join":
                    for argument in node.args:
                        note(argument, strs=4, str=1)
            case ast.Call(func=ast.Name() as callee, args=given):
                note(callee, **{("func0", "func", "func2")[min(len(given), 2)]: 6})
        match node:
            case ast.Call(args=given):
                called = _called(node)
                for argument in given:
                    if called in _SEQUENCE_USERS:
                        note(argument, ints=2, str=1.5, strs=1)
                    elif called in _NUMBER_USERS:
                        note(argument, int=3, float=0.5)
                    elif called in _NUMBER_LISTS:
                        note(argument, ints=2.5 if len(given) == 1 else 0, int=0 if len(given) == 1 else 1.5)
                    elif called in ("ord",):
                        note(argument, char=4)
                    elif called in ("int", "float"):
                        note(argument, str=1.5, int=1)
                if called == "isinstance" and len(given) == 2:
                    for type_name in re.findall(r"\w+", ast.unparse(given[1])):
                        if type_name in _ANNOTATIONS:
                            note(given[0], **{_ANNOTATIONS[type_name]: 2.5})
            case ast.For(iter=source) | ast.comprehension(iter=source):
                note(source, ints=2, str=1.2, strs=1.2)
                if isinstance(node.target, ast.Tuple):
                    note(source, pairs=2.5, intervals=2)
            case ast.Subscript(value=value, slice=index):
                if isinstance(value, ast.Subscript):
                    note(value.value, matrix=4, grid=2)
                if isinstance(index, ast.Slice):
                    note(value, ints=2, str=2)
                else:
                    note(value, ints=1.5, str=1, dict=1, strs=0.8, int_tuple=0.8)
                    note(index, int=1.5)
                    if isinstance(index, ast.Constant) and isinstance(index.value, str):
                        note(value, dict=4)
            case ast.BinOp(left=left, op=op, right=right):
                for side, other in ((left, right), (right, left)):
                    if isinstance(other, ast.Constant) and isinstance(other.value, str):
                        note(side, str=3 if isinstance(op, ast.Add) else 0.5)
                    elif isinstance(op, ast.Add | ast.Mult):
                        note(side, int=1.2, float=0.4)
                    else:
                        note(side, int=2.2, float=0.7)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                note(operand, int=2)
            case ast.AugAssign(target=target):
                note(target, int=1.5)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for comparison, (one, other) in zip(ops, itertools.pairwise([left, *comparators])):
                    for side, against in ((one, other), (other, one)):
                        if isinstance(against, ast.Constant) and type(against.value).__name__ in VALUES:
                            note(side, **{type(against.value).__name__: 2})
                    if isinstance(comparison, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                        note(one, int=1.5, float=0.5)
                        note(other, int=1.5, float=0.5)
                    if isinstance(comparison, ast.In | ast.NotIn):
                        note(other, ints=1.5, str=1.2, dict=1, set=0.5)
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                note(test, bool=0.8)
    return uses


def _literals(function: FunctionNode) -> dict[str, list[str]]:
    """Values of the body that inputs should meet: its numbers and short strings."""
    found: dict[str, dict[str, None]] = {"int": {}, "str": {}}
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant):
                if type(node.value) is int and abs(node.value) <= 1000:
                    found["int"].setdefault(str(node.value))
                    found["int"].setdefault(str(node.value + 1))
                elif isinstance(node.value, str) and 0 < len(node.value) <= 12 and node.value.isprintable():
                    found["str"].setdefault(repr(node.value))
    return {kind: list(values)[:6] for kind, values in found.items()}


def _pool(kind: str, own: Sequence[str]) -> list[str]:
    plain = VALUES[kind]
    return list(dict.fromkeys([*plain[:3], *own, *plain[3:]]))
