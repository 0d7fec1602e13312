"""Pools of values by kind, and scores of kinds from names, annotations, defaults and docstrings."""

import ast
import re
from collections import defaultdict

from kelp.data.record import FunctionNode

VALUES: dict[str, tuple[str, ...]] = {
    "int": ("2", "3", "0", "1", "5", "-1", "10", "7", "12", "-4", "25", "100"),
    "float": ("1.5", "0.5", "3.0", "-2.5", "0.0", "10.0", "0.25"),
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
NAMES: tuple[tuple[str, str], ...] = (
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
ANNOTATIONS = {
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
KNOWN = {
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
KNOWN_IN = {
    "datetime": ("date", "datetime", "time", "timedelta"), "decimal": ("Decimal",), "fractions": ("Fraction",),
    "collections": ("Counter", "deque"), "io": ("StringIO", "BytesIO"), "pathlib": ("Path", "PurePath"),
}  # fmt: skip
KNOWN_NAMES = {"dt": "datetime", "day": "date", "delta": "timedelta", "td": "timedelta", "fp": "StringIO"}

BUILTIN_METHODS = frozenset(
    m for t in (str, list, dict, set, bytes, int, float, tuple) for m in dir(t) if not m.startswith("_")
)


def _each(names: str, **scores: float) -> dict[str, dict[str, float]]:
    return {name: scores for name in names.split()}


# Scores of kinds, for a value by the method called on it, and for an argument by the function called with it.
METHOD_KINDS = (
    _each(" ".join({m for m in dir(str) if m[0] != "_"} - {"count", "index", "format_map"}), str=4, char=1)
    | _each("append extend insert pop remove sort reverse", ints=3, strs=1)
    | _each("items keys values get setdefault update", dict=4, graph=1.5)
    | _each("union intersection difference issubset add discard symmetric_difference", set=3)
)
_NUMBER_LISTS = "sum min max heapify mean"
ARGUMENT_KINDS = (
    _each("len sorted list tuple set enumerate reversed iter zip map filter", ints=2, str=1.5, strs=1)
    | _each("range abs round chr bin hex sqrt floor ceil isqrt divmod pow", int=3, float=0.5)
    | _each(_NUMBER_LISTS, ints=0, int=1.5)
    | _each("ord", char=4)
    | _each("int float", str=1.5, int=1)
)
LONE_ARGUMENT_KINDS = ARGUMENT_KINDS | _each(_NUMBER_LISTS, ints=2.5, int=0)  # of the only argument
LISTS = {"int": "ints", "str": "strs", "float": "floats", "ints": "matrix", "dict": "dicts", "char": "strs",
          "int_tuple": "pairs", "strs": "grid", "bool": "bools"}  # fmt: skip


def ranked(
    name: str, typed: str, default: ast.expr | None, uses: dict[str, float], elements: dict[str, float]
) -> tuple[tuple[str, float], ...]:
    """Kinds of value that a parameter may take, with scores, likeliest first.

    `typed` is its annotation as text ("" for none); `uses` and `elements` score kinds by uses of the parameter and of
    its elements.
    """
    scores = defaultdict(float, {"int": 0.3, "ints": 0.2, "str": 0.25, "dict": 0.05})
    for kind, score in uses.items():
        scores[kind] += score
    for kind, score in elements.items():  # kinds of its elements
        if kind in LISTS:
            scores[LISTS[kind]] += 0.6 * score
    name = name.lower().strip("_")
    for pattern, kind in NAMES:
        if re.fullmatch(pattern, name):
            scores[kind] += 1.5
    words = set(re.split(r"_|\d+", name))
    for pattern, kind in NAMES:
        if any(re.fullmatch(pattern, word) for word in words if len(word) > 2):
            scores[kind] += 0.7
    if typed and (annotated := annotated_kinds(typed)):
        scores = defaultdict(float, {kind: scores[kind] + 5 for kind in annotated})  # annotated kinds and no others
    if isinstance(default, ast.Constant):
        scores["None" if default.value is None else type(default.value).__name__] += 2 if default.value is None else 5
    elif isinstance(default, ast.List | ast.Tuple | ast.Dict):
        scores[{"List": "ints", "Tuple": "int_tuple", "Dict": "dict"}[type(default).__name__]] += 5
    elif isinstance(default, ast.UnaryOp):
        scores["int"] += 5
    elif isinstance(default, ast.Name):
        scores["func"] += 3
    if any(scores.get(kind, 0) >= 6 for kind in ("func0", "func", "func2", "func3")):  # it is called
        scores = defaultdict(float, {kind: score for kind, score in scores.items() if kind.startswith("func")})
    return tuple((k, s) for k, s in sorted(scores.items(), key=lambda item: -item[1]) if k in VALUES)


def annotated_kinds(text: str) -> list[str]:
    """Kinds of value that an annotation allows; none if it is unknown."""
    text = text.strip("'\"").removeprefix("typing.").replace("typing.", "").replace("collections.abc.", "")
    text = re.sub(r" \| None$", "", text)
    if "|" in text and "[" not in text:
        return [kind for part in text.split("|") for kind in annotated_kinds(part.strip())]
    if match := re.fullmatch(r"(?:Optional|Union)\[(.*)\]", text):
        return [kind for part in match[1].split(", ") for kind in annotated_kinds(part)]
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
    return [ANNOTATIONS[outer]] if outer in ANNOTATIONS else []


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


def documented_types(function: FunctionNode) -> dict[str, str]:
    """Types that the docstring states for parameters, written like annotations."""
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
    item = ANNOTATIONS.get(match[1], ANNOTATIONS.get(match[1].rstrip("s"), "object"))
    return f"list[{item}]"
