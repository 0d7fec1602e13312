"""Guess calls for a function nobody told us how to call, from its names, annotations, defaults and body.

Each parameter gets scores for the kinds of value it may take; an *assignment* gives every parameter one kind; a
call draws one value of its kind for every parameter. Which assignment is right is found out by calling.

An object is a parameter with parameters of its own: those of its class's constructor, or, for a stand-in
(`SimpleNamespace`), the attributes that the function reads. So methods are called like any other function.
"""

import ast
import contextlib
import doctest
import heapq
import itertools
import random
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    "func0": ("lambda: 1", "list", "lambda: 'a'", "lambda: True"),
    "func3": ("lambda *given, **named: given", "lambda *given, **named: len(given)"),
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
    "None": "None", "frozenset": "set", "Number": "int", "type": "type", "Text": "str", "AnyStr": "str",
    "MutableMapping": "dict", "MutableSequence": "ints", "OrderedDict": "dict", "defaultdict": "dict",
    "object": "int", "Generator": "ints", "Hashable": "str", "Real": "float", "Integral": "int", "SupportsInt": "int",
    "AbstractSet": "set", "FrozenSet": "set", "Type": "type", "LiteralString": "str", "Container": "ints",
    "Reversible": "ints",
    # words of docstrings
    "integer": "int", "integers": "int", "string": "str", "strings": "str", "boolean": "bool", "number": "int",
    "numbers": "int", "real": "float", "array": "ints", "array_like": "ints", "array-like": "ints",
    "tuples": "int_tuple", "iterable": "ints", "sequence": "ints", "dictionary": "dict", "mapping": "dict",
    "callable": "func", "function": "func", "byte": "bytes", "unicode": "str", "char": "char", "character": "char",
    "matrix": "matrix", "lists": "ints", "double": "float", "ints": "int", "floats": "float", "strs": "str",
}  # fmt: skip

# Classes of the standard library that a function may be called with where its module has them: constructor arguments.
_KNOWN = {
    "date": ("2024, 2, 29", "1999, 12, 31", "2021, 7, 4", "2000, 1, 1"),
    "datetime": ("2024, 2, 29, 13, 45", "1999, 12, 31", "2021, 7, 4, 6, 30, 15", "2000, 1, 1"),
    "time": ("13, 45", "0, 0, 1", "23, 59, 59"),
    "timedelta": ("days=3", "hours=5, minutes=30", "0", "seconds=90061"),
    "Decimal": ("'1.50'", "'-3'", "'0'", "'12.345'"),
    "Fraction": ("3, 4", "-1, 2", "5", "0"),
    "Counter": ("'abca'", "[1, 2, 2]", ""),
    "deque": ("[3, 1, 2]", "", "'abc'"),
    "Path": ("'a/b.txt'", "'c'", "'/x/y.tar.gz'"),
    "PurePath": ("'a/b.txt'", "'c'", "'/x/y.tar.gz'"),
    "StringIO": ("'one\\ntwo\\n'", "''", "'a,b\\n1,2\\n'"),
    "BytesIO": ("b'abcdef'", "b''", "b'\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08'"),
    "UUID": ("int=1", "'12345678123456781234567812345678'"),
    "IPv4Address": ("'10.0.0.1'", "'192.168.1.20'"),
}
_KNOWN_IN = {
    "datetime": ("date", "datetime", "time", "timedelta"), "decimal": ("Decimal",), "fractions": ("Fraction",),
    "collections": ("Counter", "deque"), "io": ("StringIO", "BytesIO"), "pathlib": ("Path", "PurePath"),
}  # fmt: skip
_KNOWN_NAMES = {"dt": "datetime", "day": "date", "delta": "timedelta", "td": "timedelta", "fp": "StringIO"}

_BUILTIN_METHODS = frozenset(
    m for t in (str, list, dict, set, bytes, int, float, tuple) for m in dir(t) if not m.startswith("_")
)
_MUTATORS = frozenset(
    "append appendleft extend extendleft insert pop popleft popitem remove sort reverse clear update setdefault add "
    "discard difference_update intersection_update symmetric_difference_update rotate".split()
)
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


_LISTS = {"int": "ints", "str": "strs", "float": "floats", "ints": "matrix", "dict": "dicts", "char": "strs",
          "int_tuple": "pairs", "strs": "grid", "bool": "bools"}  # fmt: skip


STAND_IN = "SimpleNamespace"  # of the module `types`, which the context must then import
MAX_DEPTH = 3  # of objects in objects
MAX_PARTS = 9  # parameters and attributes of one call


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function or of an object's constructor, or an attribute of a stand-in.

    `made` says how its value is put together from `parts`: by a class, by SimpleNamespace, as "[]", as "{}", or as a
    function that gives its only part; it is a plain value of one of the `kinds` where `made` is empty, or one of
    `values` where there are any.
    """

    name: str
    how: str  # "positional", "keyword" or "star"
    required: bool
    kinds: tuple[tuple[str, float], ...] = ()  # likeliest first, with scores
    values: tuple[str, ...] = ()
    made: str = ""
    parts: tuple["Parameter", ...] = ()


@dataclass(frozen=True)
class Scope:
    """What the context of a function offers calls of it."""

    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)  # classes of the standard library, as they can be written here

    @staticmethod
    def of(context: str) -> "Scope":
        classes, known = dict[str, ast.ClassDef](), dict[str, str]()
        for node in _parsed(context).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                known |= {a.name: a.asname or a.name for a in node.names if a.name in _KNOWN}
            elif isinstance(node, ast.Import):
                for a in node.names:
                    for name in _KNOWN_IN.get(a.name, ()):
                        known.setdefault(name, f"{a.asname or a.name}.{name}")
        return Scope(classes, known)

    def owner(self, function: FunctionNode) -> ast.ClassDef | None:
        """The class that the function is a method of."""
        if not is_method(function):
            return None
        owners = [c for c in self.classes.values() if any(getattr(s, "name", "") == function.name for s in c.body)]
        return owners[-1] if owners else None

    def bases(self, node: ast.ClassDef) -> list[str]:
        """The names of all classes above this one."""
        found: list[str] = []
        for base in node.bases:
            name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
            found.append(name)
            if name in self.classes and name != node.name and len(found) < 20:
                found += self.bases(self.classes[name])
        return found


def is_method(function: FunctionNode) -> bool:
    positional = [*function.args.posonlyargs, *function.args.args]
    return bool(positional) and positional[0].arg in ("self", "cls", "klass", "mcs")


def callee(function: FunctionNode) -> str:
    """How the function is called where its decorators make something else of it."""
    decorators = {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}
    if "property" in decorators:
        return f"{function.name}.fget"
    if "cached_property" in decorators:
        return f"{function.name}.func"
    return f"{function.name}.__func__" if "classmethod" in decorators else function.name


def parameters(function: FunctionNode, scope: Scope = Scope(), *, stand_ins: bool = False) -> list[Parameter]:
    """The parameters a call may fill (all but **kwargs), with the kinds of value each seems to take.

    With `stand_ins`, objects are stand-ins even where the scope has a class for them.
    """
    guesser = _Guesser(function, scope, stand_ins=stand_ins)
    owner = scope.owner(function)
    found = guesser.listed()
    if is_method(function) and found:
        first = found[0].name
        if first == "self":
            found[0] = guesser.receiver(owner)
        elif owner is not None:  # a class method
            found[0] = Parameter(first, "positional", True, (("class", 1.0),), (owner.name,))
    return found


def assignments(params: Sequence[Parameter], limit: int) -> list[tuple[str, ...]]:
    """The likeliest ways to give each plain value a kind, best first."""
    kinds = [leaf.kinds[:5] for leaf in _leaves(params)]

    def score(choice: tuple[int, ...]) -> float:
        return sum(kinds[i][rank][1] for i, rank in enumerate(choice))

    first = (0,) * len(kinds)
    heap, seen, found = [(-score(first), first)], {first}, list[tuple[str, ...]]()
    while heap and len(found) < limit:
        _, choice = heapq.heappop(heap)
        found.append(tuple(kinds[i][rank][0] for i, rank in enumerate(choice)))
        for i, rank in enumerate(choice):
            following = (*choice[:i], rank + 1, *choice[i + 1 :])
            if rank + 1 < len(kinds[i]) and following not in seen:
                seen.add(following)
                heapq.heappush(heap, (-score(following), following))
    return found


def size(params: Sequence[Parameter]) -> int:
    return len(_leaves(params))


def _leaves(params: Sequence[Parameter]) -> list[Parameter]:
    return [leaf for p in params for leaf in (_leaves(p.parts) if p.made else [p])]


def calls(
    function: FunctionNode,
    params: Sequence[Parameter],
    kinds: Sequence[str],
    rng: random.Random,
    count: int,
    kept: tuple[str, str] = ("", ""),
) -> list[str]:
    """Up to `count` different call expressions under one assignment.

    `kept` is a parameter and the name under which the call keeps its value, to be looked at afterwards.
    """
    literals, leaves = _literals(function), _leaves(params)
    pools = [list(leaf.values) or _pool(kind, literals.get(kind, ())) for leaf, kind in zip(leaves, kinds)]
    found: dict[str, None] = {}
    for attempt in range(3 * count):
        if len(found) == count:
            break
        # the first values of a pool are the plainest: the first attempts take those
        if len(pools) == 1:
            values = [pools[0][attempt % len(pools[0])]]
        else:
            values = [rng.choice(pool[: 3 + attempt]) for pool in pools]
        # a third of the calls pass what has a default, too; a quarter, several values where any number may be given
        given = _arguments(params, iter(values), attempt % 3 == 1, 1 + (attempt % 4 == 3), kept)
        found.setdefault(f"{callee(function)}({given})")
    return list(found)


def _arguments(
    params: Sequence[Parameter],
    values: Iterator[str],
    optional: bool,
    times: int,
    kept: tuple[str, str] = ("", ""),
) -> str:
    """The arguments of one call or constructor, with the values of all leaves in their order."""
    given = []
    gap = False  # a positional argument left out: those after it cannot be given by position
    for p in params:
        text = _text(p, values, optional, times)
        if p.name == kept[0] != "":
            text = f"{kept[1]} := {text}" if p.how == "positional" and not gap else f"({kept[1]} := {text})"
        if p.how == "star":
            given += [] if gap else [text] * times
        elif not (p.required or optional):
            gap = gap or p.how == "positional"
        elif p.how == "keyword" or gap:
            given.append(f"{p.name}={text}")
        else:
            given.append(text)
    return ", ".join(given)


def _text(p: Parameter, values: Iterator[str], optional: bool, times: int) -> str:
    if p.made == "[]":
        return f"[{', '.join(_text(part, values, optional, times) for part in p.parts)}]"
    if p.made == "{}":
        return f"{{{', '.join(f'{part.name!r}: {_text(part, values, optional, times)}' for part in p.parts)}}}"
    if p.made.endswith(":"):
        return f"{p.made} {_text(p.parts[0], values, optional, times)}"
    return f"{p.made}({_arguments(p.parts, values, optional, times)})" if p.made else next(values)


def observed(function: FunctionNode) -> tuple[str, tuple[str, ...]]:
    """The parameter whose value the function changes, and what to look at then: attributes, or "" for the value itself.

    ("", ()) where it changes none.
    """
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    changed: dict[str, dict[str, None]] = {name: {} for name in names}

    def note(node: ast.AST) -> None:
        """Something is put into, or taken out of, what this stands for."""
        while isinstance(node, ast.Subscript):
            node = node.value
        match node:
            case ast.Name(id=name) if name in changed:
                changed[name].setdefault("")
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in changed:
                changed[name].setdefault(attr)

    for node in sorted(_own_nodes(function), key=lambda n: (getattr(n, "lineno", 0), getattr(n, "col_offset", 0))):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                note(node)
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                note(node.value)
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _MUTATORS:
                note(value)
    for name in names:
        if changed[name]:
            return name, tuple(changed[name])[:4]
    return "", ()


def returns_value(function: FunctionNode) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) or (isinstance(n, ast.Return) and n.value is not None)
               for n in _own_nodes(function))  # fmt: skip


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


def redrawn(call: str, rng: random.Random) -> str:
    """The call with other values in the place of some of its literals."""

    class Redraw(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.UnaryOp) and rng.random() < 0.7:
                with contextlib.suppress(ValueError, TypeError, SyntaxError):
                    return ast.parse(repr(_other(ast.literal_eval(node), rng)), mode="eval").body
            if isinstance(node, ast.Slice | ast.Lambda):
                return node
            return self.generic_visit(node)

    return ast.unparse(Redraw().visit(ast.parse(call, mode="eval")))


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


def doctest_calls(function: FunctionNode) -> tuple[list[str], str]:
    """The examples of the docstring that call the function, each an expression on its own, and the imports they need.

    What earlier lines assign is put in where it is used; `obj.method(x)` becomes `method(obj, x)`.
    """
    try:
        examples = doctest.DocTestParser().get_examples(ast.get_docstring(function) or "")
    except ValueError:  # inconsistent indentation
        return [], ""
    found: dict[str, None] = {}
    imports: list[str] = []
    variables: dict[str, ast.expr] = {}
    own, method = callee(function), is_method(function)

    class Inline(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return variables.get(node.id, node) if isinstance(node.ctx, ast.Load) else node

        def visit_Call(self, node: ast.Call) -> ast.expr:
            self.generic_visit(node)
            if method and isinstance(node.func, ast.Attribute) and node.func.attr == function.name:
                node = ast.Call(ast.Name(own), [node.func.value, *node.args], node.keywords)
            return node

    for example in examples:
        for statement in _parsed(example.source).body:
            match statement:
                case ast.Import() | ast.ImportFrom(level=0):
                    imports.append(ast.unparse(statement) + "\n")
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    variables[name] = Inline().visit(value)
                case ast.Expr(value=value):
                    if isinstance(value, ast.Call) and _called(value) in ("print", "pprint") and len(value.args) == 1:
                        value = value.args[0]
                    value = Inline().visit(value)
                    text = ast.unparse(value)
                    if not isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
                        text = f"({text})"
                    if re.search(rf"(?<![.\w]){re.escape(own)}\(", text) and len(text) < 200 and "\n" not in text:
                        found.setdefault(text)
    return list(found), "".join(dict.fromkeys(imports))


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


class _Guesser:
    """Guesses what the parameters of one function are, from what its body does with them."""

    def __init__(self, function: FunctionNode, scope: Scope, *, stand_ins: bool, depth: int = 0):
        self.function, self.scope, self.stand_ins, self.depth = function, scope, stand_ins, depth
        self.owner = scope.owner(function)
        self.uses = _Uses(function)
        self.parts = 0

    def listed(self) -> list[Parameter]:
        a = self.function.args
        documented = _documented(self.function)
        positional = [*a.posonlyargs, *a.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(a.defaults))
        listed = [(arg, "positional", d) for arg, d in zip(positional, [*defaults, *a.defaults])]
        listed += [(a.vararg, "star", None)] if a.vararg else []
        listed += [(arg, "keyword", d) for arg, d in zip(a.kwonlyargs, a.kw_defaults)]
        found = []
        for arg, how, default in listed:
            typed = ast.unparse(arg.annotation) if arg.annotation is not None else documented.get(arg.arg, "")
            required = default is None and how != "star"
            found.append(self.guess(arg.arg, arg.arg, how, required, typed, default, self.depth))
        return found

    def receiver(self, owner: ast.ClassDef | None) -> Parameter:
        if owner is not None and not self.stand_ins:
            return self.object("self", "self", "positional", True, owner, 0)
        return self.stand_in("self", "self", "positional", True, 0)

    def guess(
        self, path: str, name: str, how: str, required: bool, typed: str, default: ast.expr | None, depth: int
    ) -> Parameter:
        """The value at a path: a parameter ("x"), an attribute ("x.y"), an element ("x[]")."""
        self.parts += 1
        typed = typed.strip("'\"")
        kinds = _kinds(name, typed, default, self.uses.of(path), self.uses.of(path + "[]"))
        plain = Parameter(name, how, required, kinds)
        words = re.findall(r"\w+", typed)
        container = bool(words) and words[0].lower() in ("list", "sequence", "iterable", "set", "tuple", "collection")
        known = next((w for w in words if w in self.scope.known), "")
        if not typed:
            known = _KNOWN_NAMES.get(name, name.rpartition("_")[2])
        if known in self.scope.known and not container:
            made = self.scope.known[known]
            values = tuple(f"{made}({given})" for given in _KNOWN[known])
            return Parameter(name, how, required, (("known", 5.0),), values)
        told = isinstance(default, ast.Constant) and default.value is not None
        if told or depth >= MAX_DEPTH or self.parts > MAX_PARTS:
            return plain
        node = self.class_of(path, name, words)
        if node is not None and not self.stand_ins and required:
            if container:
                parts = tuple(self.object(path + "[]", "", "positional", True, node, depth + 1) for _ in range(2))
                return Parameter(name, how, required, made="[]", parts=parts)
            return self.object(path, name, how, required, node, depth + 1)
        if words and _annotated(typed):
            return plain
        if self.uses.tells_of(path + "()"):
            value = self.guess(path + "()", name, "positional", True, "", None, depth + 1)
            return Parameter(name, how, required, made="lambda *_:", parts=(value,))
        if self.uses.attributes.get(path):
            return self.stand_in(path, name, how, required, depth + 1)
        if self.uses.keys.get(path):
            keys = self.uses.keys[path]
            parts = tuple(self.guess(f"{path}[{key!r}]", key, "keyword", True, "", None, depth + 1) for key in keys)
            return Parameter(name, how, required, made="{}", parts=parts)
        if self.uses.attributes.get(path + "[]") or self.uses.keys.get(path + "[]"):
            element = [self.guess(path + "[]", name, "positional", True, "", None, depth + 1) for _ in range(2)]
            return Parameter(name, how, required, made="[]", parts=tuple(element))
        return plain

    def class_of(self, path: str, name: str, words: list[str]) -> ast.ClassDef | None:
        classes = self.scope.classes
        if words:
            named = [w for w in words if w in classes]
            return classes[named[0]] if named else self.owner if "Self" in words else None
        if self.owner is not None and (name == "other" or name.lower().strip("_") == self.owner.name.lower()):
            return self.owner
        for cls in classes.values():
            if name.lower().rpartition("_")[2].rstrip("0123456789") == cls.name.lower().strip("_"):
                return cls
        return None

    def object(self, path: str, name: str, how: str, required: bool, node: ast.ClassDef, depth: int) -> Parameter:
        """An instance, made by the class's constructor."""
        bases = self.scope.bases(node)
        if any(base.endswith(("Enum", "Flag")) for base in bases):
            targets = [s.targets[0] for s in node.body if isinstance(s, ast.Assign)]
            values = tuple(f"{node.name}.{t.id}" for t in targets[:6] if isinstance(t, ast.Name))
            return Parameter(name, how, required, (("member", 5.0),), values or ("None",))
        return Parameter(name, how, required, made=node.name, parts=tuple(self.constructed(path, node, depth)))

    def constructed(self, path: str, node: ast.ClassDef, depth: int) -> list[Parameter]:
        """The parameters of a class's constructor; what is done with an attribute tells of the one with its name."""
        bases = self.scope.bases(node)
        line = [node, *(self.scope.classes[b] for b in bases if b in self.scope.classes)]
        for method in (s for cls in line for s in cls.body):
            if isinstance(method, ast.FunctionDef) and method.name in ("__init__", "__new__"):
                inner = _Guesser(method, self.scope, stand_ins=self.stand_ins, depth=depth + 1)
                inner.parts = self.parts
                for name in inner.uses.names:
                    told = self.uses.of(f"{path}.{name}") or self.uses.of(f"{path}._{name}")
                    for kind, score in told.items():
                        inner.uses.scores[name][kind] = max(inner.uses.scores[name][kind], score)
                found = inner.listed()[1:]
                self.parts = inner.parts
                return found
        decorators = " ".join(ast.unparse(d) for cls in line for d in cls.decorator_list)
        if re.search(r"dataclass|attr", decorators) or "NamedTuple" in bases:
            fields = [s for cls in reversed(line) for s in cls.body if isinstance(s, ast.AnnAssign)]
            return [
                self.guess(f"{path}.{s.target.id}", s.target.id, "keyword", s.value is None, typed, s.value, depth + 1)
                for s in fields
                if isinstance(s.target, ast.Name) and "ClassVar" not in (typed := ast.unparse(s.annotation))
            ]
        kinds = [_ANNOTATIONS[b] for b in bases if b in _ANNOTATIONS and b != "object"]
        return [Parameter("", "positional", True, ((kinds[0], 5.0),))] if kinds else []

    def stand_in(self, path: str, name: str, how: str, required: bool, depth: int) -> Parameter:
        """A SimpleNamespace with the attributes that the function reads."""
        attributes = self.uses.attributes.get(path, {})
        parts = tuple(self.guess(f"{path}.{a}", a, "keyword", True, "", None, depth) for a in attributes)
        return Parameter(name, how, required, made=STAND_IN, parts=parts)


_TYPED = re.compile(
    r"^\s*(?:"
    r":type\s+\*{0,2}(?P<a>\w+)\s*:\s*(?P<ta>[^\n]+)"  # Sphinx, in two fields
    r"|:param\s+(?P<tb>[\w\[\], .|]+?)\s+\*{0,2}(?P<b>\w+)\s*:"  # Sphinx, in one
    r"|(?P<c>\w+)\s+:\s+(?P<tc>[^\n]+)"  # numpy
    r"|@type\s+(?P<e>\w+)\s*:\s*(?P<te>[^\n]+)"  # epydoc
    r"|\*{0,2}(?P<d>\w+)\s*\((?P<td>[^()\n]+(?:\([^()\n]*\))?)\)\s*:"  # Google
    r")",
    re.MULTILINE,
)


def _documented(function: FunctionNode) -> dict[str, str]:
    """The types that the docstring gives parameters, written like annotations."""
    found = dict[str, str]()
    for match in _TYPED.finditer(ast.get_docstring(function) or ""):
        for name, text in (("a", "ta"), ("b", "tb"), ("c", "tc"), ("d", "td"), ("e", "te")):
            if match[name]:
                text = re.sub(r"[`~:]|\boptional\b|\bdefault\b.*|\bclass\b", "", match[text]).strip(" ,.")
                text = re.sub(r"^(?:an?|the|non-?negative|positive|sorted)\s+", "", text, flags=re.IGNORECASE)
                text = re.sub(r"^(?:list|tuple|set|iterable|sequence)s?\s*(?:of|\()\s*(\w+)\b.*", _of, text, flags=re.I)
                text = re.sub(r"\s*(?:\bor\b|/)\s*", " | ", text).partition(",")[0] if "[" not in text else text
                found.setdefault(match[name], text)
    return found


def _of(match: re.Match[str]) -> str:
    item = _ANNOTATIONS.get(match[1], _ANNOTATIONS.get(match[1].rstrip("s"), "object"))
    return f"list[{item}]"


def _kinds(
    name: str, typed: str, default: ast.expr | None, uses: dict[str, float], elements: dict[str, float]
) -> tuple[tuple[str, float], ...]:
    scores = defaultdict(float, {"int": 0.3, "ints": 0.2, "str": 0.25, "dict": 0.05})
    for kind, score in uses.items():
        scores[kind] += score
    for kind, score in elements.items():  # of what it holds
        if kind in _LISTS:
            scores[_LISTS[kind]] += 0.6 * score
    name = name.lower().strip("_")
    for pattern, kind in _NAMES:
        if re.fullmatch(pattern, name):
            scores[kind] += 1.5
    words = set(re.split(r"_|\d+", name))
    for pattern, kind in _NAMES:
        if any(re.fullmatch(pattern, word) for word in words if len(word) > 2):
            scores[kind] += 0.7
    if typed and (annotated := _annotated(typed)):
        scores = defaultdict(float, {kind: scores[kind] + 5 for kind in annotated})  # those and no others
    if isinstance(default, ast.Constant):
        scores["None" if default.value is None else type(default.value).__name__] += 2 if default.value is None else 5
    elif isinstance(default, ast.List | ast.Tuple | ast.Dict):
        scores[{"List": "ints", "Tuple": "int_tuple", "Dict": "dict"}[type(default).__name__]] += 5
    elif isinstance(default, ast.UnaryOp):
        scores["int"] += 5
    elif isinstance(default, ast.Name):
        scores["func"] += 3
    if any(scores[kind] >= 6 for kind in ("func0", "func", "func2", "func3")):  # it is called
        scores = defaultdict(float, {kind: score for kind, score in scores.items() if kind.startswith("func")})
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


class _Uses:
    """What a function does with its parameters, their attributes and their elements, each known by its path."""

    def __init__(self, function: FunctionNode):
        a = function.args
        self.names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg]))]
        self.paths = {name: name for name in self.names}  # of the function's variables, too, where they stand for one
        self.receiver = self.names[0] if is_method(function) else ""
        self.scores: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.attributes: dict[str, dict[str, None]] = defaultdict(dict)  # path -> attributes that are read
        self.keys: dict[str, dict[str, None]] = defaultdict(dict)  # path -> strings that it is subscripted with
        nodes = [node for statement in function.body for node in ast.walk(statement)]
        for node in nodes:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.alias(name, self.path(value))
                case ast.For(target=ast.Name(id=name), iter=source) | ast.comprehension(
                    target=ast.Name(id=name), iter=source
                ):
                    self.alias(name, (self.path(source) or "") + "[]" if self.path(source) else None)
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        for node in nodes:
            self.look(node, called)

    def of(self, path: str) -> dict[str, float]:
        return self.scores.get(path, {})

    def alias(self, name: str, path: str | None) -> None:
        if path is not None and name not in self.paths:
            self.paths[name] = path

    def path(self, node: ast.AST | None) -> str | None:
        match node:
            case ast.Name(id=name):
                return self.paths.get(name)
            case ast.Attribute(value=value, attr=attr):
                above = self.path(value)
                return f"{above}.{attr}" if above is not None else None
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
                above = self.path(value)
                return f"{above}[{key!r}]" if above is not None else None
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                above = self.path(value)
                return f"{above}[]" if above is not None else None
            case ast.Call(func=ast.Name() | ast.Attribute() as callee):
                above = self.path(callee)
                if above is None or (above.rpartition(".")[2] in _BUILTIN_METHODS and above.count(".") != 1):
                    return None
                return f"{above}()"
        return None

    def tells_of(self, path: str) -> bool:
        known = (self.scores, self.attributes, self.keys)
        return any(path in found or path + "[]" in found for found in known)

    def note(self, node: ast.AST | None, **scores: float) -> None:
        path = self.path(node)
        if path is not None:
            for kind, score in scores.items():
                self.scores[path][kind] = max(self.scores[path][kind], score)

    def look(self, node: ast.AST, called: set[int]) -> None:
        note = self.note
        match node:
            case ast.Attribute(value=value, attr=attr, ctx=ast.Load()) if not attr.startswith("__"):
                path = self.path(value)
                if path is not None and (
                    path == self.receiver or id(node) not in called or attr not in _BUILTIN_METHODS
                ):
                    self.attributes[path].setdefault(attr)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                path = self.path(value)
                if path is not None and len(key) < 30:
                    self.keys[path].setdefault(key)
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if self.path(value) != self.receiver:
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
        match node:
            case ast.Call(func=ast.Name() | ast.Attribute() as callee, args=given):
                if not (isinstance(callee, ast.Attribute) and callee.attr in _BUILTIN_METHODS):
                    plain = not node.keywords and not any(isinstance(g, ast.Starred) for g in given)
                    note(callee, **{("func0", "func", "func2", "func3")[min(len(given), 3) if plain else 3]: 6})
        match node:
            case ast.Call(args=given):
                by = _called(node)
                for argument in given:
                    if by in _SEQUENCE_USERS:
                        note(argument, ints=2, str=1.5, strs=1)
                    elif by in _NUMBER_USERS:
                        note(argument, int=3, float=0.5)
                    elif by in _NUMBER_LISTS:
                        note(argument, ints=2.5 if len(given) == 1 else 0, int=0 if len(given) == 1 else 1.5)
                    elif by in ("ord",):
                        note(argument, char=4)
                    elif by in ("int", "float"):
                        note(argument, str=1.5, int=1)
                if by == "isinstance" and len(given) == 2:
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


def _parsed(source: str) -> ast.Module:
    """An empty module where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _pool(kind: str, own: Sequence[str]) -> list[str]:
    plain = VALUES[kind]
    return list(dict.fromkeys([*plain[:3], *own, *plain[3:]]))
