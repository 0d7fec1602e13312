"""Mistakes of Python programmers: confusable names and operators, near literals, and the scope of names."""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import tree_sitter
import tree_sitter_python

from kelp.languages.python.precedence import AWAIT, BINARY, CHOICE, COMPARISON, NOT, PRIMARY, SIGN, demand, strength
from kelp.syntax.program import Binding, Families, NearMiss, Program, Templates


def families(*lines: str) -> Families:
    """One family per line, its texts separated by blanks (by `|` where a text contains a blank)."""
    return tuple(frozenset(t.strip().encode() for t in (line.split("|") if "|" in line else line.split()))
                 for line in lines)  # fmt: skip


ROLES = {
    "name": ["identifier"],
    "parentheses": ["parenthesized_expression"],
    "call": ["call"],
    "arguments": ["argument_list"],
    "keyword argument": ["keyword_argument"],
    "special argument": ["keyword_argument", "list_splat", "dictionary_splat", "generator_expression"],
    "attribute": ["attribute"],
    "subscript": ["subscript"],
    "slice": ["slice"],
    "binary": ["binary_operator"],
    "comparison": ["comparison_operator"],
    "boolean": ["boolean_operator"],
    "not": ["not_operator"],
    "sign": ["unary_operator"],
    "choice": ["conditional_expression"],
    "filter": ["if_clause"],
    "number": ["integer", "float"],
    "literal": ["integer", "float", "true", "false", "none", "unary_operator"],
    "string": ["string", "concatenated_string"],
    "sequence": ["tuple", "list", "expression_list", "pattern_list"],
    "assignment": ["assignment"],
    "update": ["augmented_assignment"],
    "default": ["default_parameter", "typed_default_parameter"],
    "shared": """list dictionary set list_comprehension set_comprehension dictionary_comprehension call""".split(),
    "function": ["function_definition"],
    "expression statement": ["expression_statement"],
    "return": ["return_statement"],
    "if": ["if_statement"],
    "lambda": ["lambda"],
    "loop": ["for_statement", "while_statement"],
    "await": ["await"],
    "clause": ["for_in_clause"],
    "handler": ["except_clause"],
    "else": ["else_clause", "elif_clause"],
    "tested": ["if_statement", "elif_clause", "while_statement", "assert_statement", "if_clause"],
    "jump": ["return_statement", "raise_statement", "break_statement", "continue_statement"],
    "compound": """if_statement for_statement while_statement try_statement with_statement match_statement
        function_definition class_definition decorated_definition""".split(),
}
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
INERT = frozenset(
    """decorator type dotted_name case_pattern import_statement import_from_statement future_import_statement
    comment line_continuation global_statement nonlocal_statement type_parameter""".split()
)


def embedded(text: bytes) -> list[tuple[int, int]]:
    """Spans of the expressions in the braces of an f-string, but not of those within a format."""
    if b"{" not in text or b"f" not in text[:3].lower():
        return []
    found, open_nodes = [], list(reversed(PARSER.parse(text).root_node.children))
    while open_nodes:
        node = open_nodes.pop()
        if node.type != "interpolation":
            open_nodes += reversed(node.children)
        elif (inner := node.child_by_field_name("expression")) is not None and not node.has_error:
            found.append((inner.start_byte, inner.end_byte))
    return found


SPECIFICATIONS = (b":02d", b":02", b":.2f", b":,")
CONVERSIONS = (b"%d", b"%02d", b"%s", b"%.2f", b"%r")
FIELD = re.compile(rb"\{\w*(?:![rsa])?(:[^{}]*)?\}")  # of str.format
CONVERSION = re.compile(rb"%[-+ #0]*\d*(?:\.\d+)?[sdifr]")
DIGIT = re.compile(rb"\d(?=[dfsx%}]?$)")
PATTERN = re.compile(rb"[rRbB]*[rR][bB]?(\"\"\"|'''|\"|')(.*)\1", re.DOTALL)
QUANTIFIER = re.compile(rb"(?<!\\)[*+](?!\?)")


def formats(text: bytes, after: bytes) -> Iterator[bytes]:
    """A string with another format of one of its values: f-strings, strings before `.format`, strings before `%`."""
    if b"f" in text[:3].lower() and b"{" in text:
        for _, end in embedded(text):
            end += 2 * (text[end : end + 1] == b"!")  # a conversion
            yield from _specified(text, end, text.find(b"}", end))
    elif after.startswith(b".format("):
        for found in FIELD.finditer(text):
            yield from _specified(text, found.start(1) if found[1] else found.end() - 1, found.end() - 1)
    elif after.lstrip().startswith(b"%"):
        for found in CONVERSION.finditer(text):
            yield from (text[: found.start()] + new + text[found.end() :] for new in CONVERSIONS if new != found[0])


def _specified(text: bytes, start: int, end: int) -> Iterator[bytes]:
    """A string with another format between these bytes: none, a common one, or one with a digit more or less."""
    old = text[start:end]
    if b"{" in old or (old and not old.startswith(b":")):  # a format that is computed, or the debug sign
        return
    others = [b"", *SPECIFICATIONS]
    if digit := DIGIT.search(old):
        around = (int(digit[0]) + step for step in (-1, 1))
        others += [old[: digit.start()] + b"%d" % n + old[digit.end() :] for n in around if 0 <= n < 10]
    yield from (text[:start] + new + text[end:] for new in others if new != old)


def patterns(text: bytes) -> Iterator[bytes]:
    """A raw string, as of a regular expression, with or without an anchor, or with another quantifier."""
    found = PATTERN.fullmatch(text)
    if found is None:
        return
    head, body, tail = text[: found.start(2)], found[2], text[found.end(2) :]
    yield head + (body[1:] if body.startswith(b"^") else b"^" + body) + tail
    yield head + (body[:-1] if body.endswith(b"$") else body + b"$") + tail
    for sign in QUANTIFIER.finditer(body):
        at = sign.start()
        for new in (b"+" if sign[0] == b"*" else b"*", sign[0] + b"?"):
            yield head + body[:at] + new + body[at + 1 :] + tail


def inert(program: Program, node: int) -> bool:
    """Return whether the node is a type, decorator, import, pattern, or a string by itself (documentation)."""
    kind = program.kind
    if kind[node] == "expression_statement":
        return kind[node + 1] in ("string", "concatenated_string") and program.last[node] == node + 2
    return kind[node] in INERT


OPERATORS = {
    "binary operator": families("+ -", "+ *", "* / // %", "* **", "<< >>", "& | ^", "- /"),
    "comparison operator": families("< <= > >=", "== !=", "is|is not", "in|not in"),
    "boolean operator": families("and or"),
    "unary operator": (),
    "assignment operator": families("+= -=", "+= *=", "*= /= //= %=", "<<= >>=", "&= |= ^="),
}
NAMES = families(
    "min max", "sum len", "sum max", "any all", "sorted reversed list", "list set tuple", "int float round",
    "ord chr", "str repr", "append extend", "append add", "append appendleft", "append insert", "extend update",
    "lower upper", "capitalize title", "islower isupper", "startswith endswith", "strip lstrip rstrip",
    "keys values items", "floor ceil", "index find rfind", "add discard remove", "split rsplit",
    "isalpha isdigit isalnum", "pop popleft", "partition rpartition", "union intersection difference",
    "issubset issuperset", "heappush heappop", "get pop setdefault", "index count", "encode decode",
    "match search fullmatch", "bisect_left bisect_right", "combinations permutations", "KeyError IndexError",
    "ValueError TypeError", "left right", "next prev", "x y", "width height", "start stop end", "ljust rjust",
    "sin cos", "zip enumerate", "isinstance issubclass", "getattr hasattr", "read readline", "first last",
    "sub findall", "removeprefix removesuffix",
)  # fmt: skip
STATEMENTS = families("break continue pass")
VALUES = families(
    "[] {} set() None", "0 1 -1 None", '"" None', "'' None", "True False None",
    'float("inf") 0', "float('inf') 0", 'float("inf") float("-inf")', "float('inf') float('-inf')",
)  # fmt: skip
ARGUMENTS = {
    b"range": ((True, b"1"),),
    b"enumerate": ((False, b"1"),),
    b"sorted": ((False, b"reverse=True"),),
    b"sort": ((False, b"reverse=True"),),
    b"get": ((False, b"0"), (False, b"None")),
    b"pop": ((False, b"0"), (False, b"None")),
    b"round": ((False, b"2"),),
    b"split": ((False, b'" "'),),
}
STRINGS = (["", " "], [",", ", "], ["", "\\n"], [" ", "\\n"], ["r", "w"], ["", "0"], ["(", ")"], ["[", "]"])


def literals(program: Program, node: int) -> list[bytes]:
    """Values near a literal: one more, one less, the other sign; 0, 1 and -1 for one another; the other constants."""
    kind, text = program.kind[node], program.text(node)
    if kind in ("true", "false", "none"):
        return [other for other in (b"True", b"False", b"None") if other != text]
    if kind == "unary_operator":
        if program.kind[node + 1] != "-" or program.kind[node + 2] not in ("integer", "float"):
            return []
        return near_numbers(program.text(node + 2), negative=True)
    parent = program.parent[node]
    if program.kind[parent] == "unary_operator" and program.kind[parent + 1] == "-":
        return []  # the literal is the parent
    return near_numbers(text, negative=False)


def near_numbers(text: bytes, *, negative: bool) -> list[bytes]:
    """Values near a number, in its notation (base, width, point)."""
    digits = text.decode()
    if re.fullmatch(r"[0-9]+", digits):
        value = -int(digits) if negative else int(digits)
        near = [value + 1, value - 1]
        if abs(value) <= 1:
            near += [0, 1, -1]
        if value:
            near.append(-value)
        return list(dict.fromkeys(b"%d" % n for n in near if n != value))
    if re.fullmatch(r"[0-9]*\.[0-9]*", digits):
        try:
            number = -Decimal(digits) if negative else Decimal(digits)
        except InvalidOperation:
            return []
        floats = [number + 1, number - 1] + ([-number] if number else [])
        return [f"{n:f}".encode() for n in floats]
    if prefixed := re.fullmatch(r"(0[xX])([0-9a-fA-F]+)", digits):
        value, width = int(digits, 16), len(prefixed[2])
        form = "X" if re.search("[A-F]", digits) else "x"
        return [f"{prefixed[1]}{n:0{width}{form}}".encode() for n in (value + 1, value - 1) if n >= 0]
    return []


def strings(text: bytes) -> list[bytes]:
    """Values near a plain string of up to two characters, in its own quotes."""
    match = re.fullmatch(rb"(['\"])(.{0,2})\1", text)
    if not match:
        return []
    quote, inside = match[1], match[2].decode()
    return [quote + other.encode() + quote for pair in STRINGS if inside in pair for other in pair if other != inside]


PATTERNS = frozenset(
    """pattern_list tuple_pattern list_pattern list_splat_pattern dictionary_splat_pattern typed_parameter
    as_pattern_target default_parameter typed_default_parameter""".split()
)


def bindings(program: Program) -> list[Binding]:
    """Every name bound in the program, in preorder; it is visible after its binding, in its scope."""
    binders = []
    for node, kind in enumerate(program.kind):
        if kind == "identifier" and (seen := visible(program, node)):
            binders.append(Binding(program.text(node), node, *seen))
    return binders


def visible(program: Program, node: int) -> tuple[int, int] | None:
    """Nodes (first, one past the last) in which the name that this identifier binds is visible, or None."""
    kind, field, parent, last = program.kind, program.field, program.parent, program.last
    top, place = node, parent[node]
    while kind[place] in PATTERNS:
        if field[top] in ("value", "type"):
            return None
        top, place = place, parent[place]
    binder = kind[place]
    if binder == "parameters" or binder == "lambda_parameters":
        return last[place], last[parent[place]]
    if binder in ("assignment", "augmented_assignment") and field[top] == "left":
        return last[place], scope_end(program, place)
    if binder == "for_statement" and field[top] == "left":
        body = next(c for c in program.children(place) if field[c] == "body")
        return body, scope_end(program, place)
    if binder == "for_in_clause" and field[top] == "left":
        return parent[place], last[parent[place]]
    if binder == "named_expression" and field[top] == "name":
        return last[place], scope_end(program, place)
    if binder == "as_pattern" and field[top] == "alias":
        return last[place], scope_end(program, place)
    if binder in ("function_definition", "class_definition") and field[top] == "name":
        outside = program.root in (place, parent[place])
        return None if outside else (last[place], scope_end(program, parent[place]))
    return None


def scope_end(program: Program, node: int) -> int:
    """One past the last node of the function or class around the node."""
    while node > 0 and program.kind[node] not in ("function_definition", "lambda", "class_definition"):
        node = program.parent[node]
    return program.last[node]


TEMPLATES = Templates(
    wrappers=(b"int", b"str", b"list", b"sorted", b"set", b"len", b"float", b"abs"),
    methods=(b"copy", b"strip", b"lower", b"items", b"values", b"keys"),
    iterated=(b"items", b"values", b"copy", b"keys"),
    lookups=((b".get(", b")"), (b".pop(", b")")),
    items=(b"[0]", b"[-1]", b"[1:]", b"[:-1]"),
    suspends=(b"await ", re.compile(rb"\s*(?:@[^\n]*\n\s*)*async\b"), AWAIT),
    keywords={
        b"sub": (b"flags", b"count"),
        b"subn": (b"flags", b"count"),
        b"split": (b"maxsplit", b"flags", b"sep"),
        b"sorted": (b"key", b"reverse"),
        b"sort": (b"key", b"reverse"),
        b"min": (b"key", b"default"),
        b"max": (b"key", b"default"),
        b"sum": (b"start",),
        b"enumerate": (b"start",),
        b"int": (b"base",),
        b"open": (b"mode", b"encoding"),
        b"print": (b"sep", b"end", b"file"),
        b"round": (b"ndigits",),
        b"dumps": (b"indent", b"default"),
        b"namedtuple": (b"defaults",),
        b"deque": (b"maxlen",),
    },
    presence=(b" is None", b" is not None"),
    contains=(b" in ", b" not in "),
    ends=(b" >= len(",),
    choice=b"VALUE if ASK else ELSE",
    choice_strength=CHOICE,
    comparison=COMPARISON,
    guard=b"if ASK:\nINDENT    JUMP",
    skips=(b"continue", b"break"),
    defaults=(b"None", b"[]", b"0", b'""', b"{}"),
    otherwise=(b"or", BINARY[b"or"]),
    choosers=(b"max", b"min"),
    collects=(b"append", b"add"),
    produces=families("yield |yield from |return "),
    catches=(b"Exception", b"ValueError", b"TypeError", b"AttributeError", b"OSError"),
    after={
        "IndexError": {
            "extra guard": 3,
            "membership": 2,
            "offset": 3,
            "choice": 3,
            "slice": 2,
            "accumulate": 4,
            "comparison": 2,
        },
        "KeyError": {"method": 5, "membership": 4, "extra guard": 2, "constant": 2},
        "TypeError": {
            "wrapped": 4,
            "default": 4,
            "absence": 3,
            "await": 3,
            "keyword": 4,
            "extra argument": 3,
            "missing argument": 3,
            "extra guard": 2,
            "choice": 2,
            "call": 2,
            "method": 2,
        },
        "AttributeError": {
            "attribute": 4,
            "receiver": 3,
            "extra guard": 3,
            "default": 3,
            "absence": 3,
            "await": 3,
            "method": 2,
        },
        "ValueError": {"extra guard": 3, "choice": 4, "wrapped": 2, "method": 2},
        "ZeroDivisionError": {"extra guard": 5, "choice": 6, "membership": 2},
        "NameError": {"receiver": 8, "variable": 4},
        "UnboundLocalError": {"reset": 4, "moved statement": 3, "initial value": 2, "indent": 3},
        "RecursionError": {"extra guard": 5, "comparison": 2, "offset": 2},
    },
    embedded=embedded,
    formats=formats,
    patterns=patterns,
)
NEAR_MISS = NearMiss(
    roles={role: frozenset(kinds) for role, kinds in ROLES.items()},
    inert=inert,
    operators=OPERATORS,
    names=NAMES,
    statements=STATEMENTS,
    values=VALUES,
    arguments=ARGUMENTS,
    numeric=frozenset([b"len", b"int", b"min", b"max", b"abs", b"sum", b"round", b"ord", b"count", b"find", b"index"]),
    truth=re.compile(rb"is|has|any$|all$|callable$|bool$|startswith$|endswith$|match$|search$"),
    receivers=frozenset([b"self", b"cls"]),
    literals=literals,
    strings=strings,
    bindings=bindings,
    strength=strength,
    demand=demand,
    literal=PRIMARY,
    negation=(b"not ", NOT),
    sign=(b"-", SIGN),
    sum=BINARY[b"+"],
    give=b"return ",
    nothing=b"pass",
    absent=(b"None",),
    leave=b"break",
    otherwise=b"else:",
    chained=(b"elif", b"if"),
    templates=TEMPLATES,
    fixed=re.compile(rb"\"\"\"|'''|\\\n"),
)
