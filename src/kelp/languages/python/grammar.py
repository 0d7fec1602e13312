"""Python as a `Language`: the grammar's node kinds and their categories, lexer and spacing, and validity."""

import re
import warnings
from functools import cache, lru_cache
from itertools import islice

from kelp.languages.python.call_variants import arguments_like
from kelp.languages.python.docstrings import docstring, doctest_asserts, first_sentence
from kelp.languages.python.lint import lint
from kelp.languages.python.mistakes import NEAR_MISS, PARSER
from kelp.languages.python.names import bound_names, free_names
from kelp.languages.python.probes import probed
from kelp.languages.python.test_files import asserts_about, wanted
from kelp.syntax.program import Language, ListRule, Program, SpecReader

OPERATORS = {
    "binary_operator": "binary operator",
    "comparison_operator": "comparison operator",
    "boolean_operator": "boolean operator",
    "unary_operator": "unary operator",
    "augmented_assignment": "assignment operator",
}
EXPRESSIONS = frozenset(
    """identifier attribute call subscript slice binary_operator boolean_operator comparison_operator
    unary_operator not_operator conditional_expression lambda list tuple set dictionary list_comprehension
    set_comprehension dictionary_comprehension generator_expression parenthesized_expression string
    concatenated_string integer float true false none ellipsis await yield named_expression list_splat
    dictionary_splat expression_list as_pattern""".split()
)
COMMENTS = frozenset({"comment", "line_continuation"})
STATEMENT_LISTS = frozenset({"block", "module"})
EXCEPTS = frozenset({"except_clause", "except_group_clause"})
CLAUSES = EXCEPTS | {"elif_clause", "else_clause", "finally_clause", "case_clause"}
COMPREHENSION_CLAUSES = frozenset({"for_in_clause", "if_clause"})
PATTERN_PARENTS = frozenset({"pattern_list", "tuple_pattern", "list_pattern", "as_pattern_target"})
WHOLE = (
    {  # kinds with one category wherever they stand
        "block": "block",
        "argument_list": "arguments",
        "parameters": "parameter list",
        "lambda_parameters": "parameters",
        "type": "type",
        "with_item": "with item",
        "decorator": "decorator",
        "keyword_argument": "argument",
        "pair": "pair",
    }
    | dict.fromkeys(CLAUSES, "clause")
    | dict.fromkeys(COMPREHENSION_CLAUSES, "comprehension clause")
)
NAME_FIELDS = frozenset({
    ("attribute", "attribute"), ("keyword_argument", "name"), ("function_definition", "name"),
    ("class_definition", "name"), ("default_parameter", "name"), ("typed_default_parameter", "name"),
    ("named_expression", "name"),
})  # fmt: skip
PATTERN_FIELDS = frozenset({
    ("assignment", "left"), ("augmented_assignment", "left"), ("for_statement", "left"),
    ("for_in_clause", "left"), ("as_pattern", "alias"),
})  # fmt: skip
NAME_PARENTS = frozenset({"typed_parameter", "list_splat_pattern", "dictionary_splat_pattern",
                          "global_statement", "nonlocal_statement", "aliased_import"})  # fmt: skip
IMPORTS = frozenset({"import_statement", "import_from_statement", "future_import_statement"})
LISTS = {
    "block": ListRule("statement", "statements", smallest=1),
    "argument_list": ListRule("argument", "arguments pair"),
    "parameters": ListRule("parameter", "parameters"),
    "lambda_parameters": ListRule("parameter", "parameters", smallest=1),
    "list": ListRule("element", "elements"),
    "tuple": ListRule("element", "elements", smallest=1),
    "parenthesized_expression": ListRule("element", "elements", smallest=1),  # one more makes it a tuple
    "set": ListRule("element", "elements", smallest=1),
    "dictionary": ListRule("pair", "pairs"),
    "expression_list": ListRule("element", "elements", smallest=1),
    "pattern_list": ListRule("pattern", "patterns", smallest=1),
    "with_clause": ListRule("with item", "with items", smallest=1),
}
_ELEMENTS = LISTS.keys() - {*STATEMENT_LISTS, "parameters", "lambda_parameters"}  # lists of which any part may go
CATEGORIES = (
    "program", "definition", "statement", "statements", "block", "clause", "indent", "expression", "condition",
    "leading condition", "argument", "arguments", "arguments pair", "parameter", "parameters", "parameter list",
    "element", "elements", "pair", "pairs", "pattern", "patterns", "name", "type", "import", "decorator",
    "with item", "with items", "comprehension clause", *OPERATORS.values(),
)  # fmt: skip
CONDITIONS = frozenset({
    ("if_statement", "condition"), ("elif_clause", "condition"), ("while_statement", "condition"),
    ("boolean_operator", "left"), ("boolean_operator", "right"),
})  # fmt: skip
RESULTS = frozenset({("return_statement", None)})
TAKES_ALL = re.compile(  # a case pattern that matches anything: a name or _, or such a last alternative
    rb"(?:^|\|)[\s(]*(?!(?:None|True|False)\b)[A-Za-z_\x80-\xff][\w\x80-\xff]*(?:\s+as\s+[\w\x80-\xff]+)?[\s)]*$"
)


@cache  # the grammar has few of these
def category(kind: str, field: str | None, parent: str, named: bool) -> str | None:
    """Category of text that may replace a node of this kind, in this field of a node of the parent kind."""
    if not named:
        return OPERATORS.get(parent) if field in ("operator", "operators") else None
    if kind in COMMENTS:
        return None
    if kind in WHOLE:
        return WHOLE[kind]
    if parent in STATEMENT_LISTS:
        return "statement"
    if (parent, field) in NAME_FIELDS or (parent in NAME_PARENTS and kind == "identifier"):
        return "name"
    if parent in ("parameters", "lambda_parameters"):
        return "parameter"
    if parent in PATTERN_PARENTS or (parent, field) in PATTERN_FIELDS:
        return "pattern" if kind != "type" else None
    if parent in IMPORTS:
        return "import"
    if parent == "decorated_definition":
        return "definition"
    if kind in EXPRESSIONS:
        if parent == "argument_list":
            return "argument"
        if parent in ("list", "tuple", "set", "expression_list"):
            return "element"
        return "pair" if parent == "dictionary" else "expression"
    return None


def may_drop(program: Program, node: int) -> bool:
    """Return whether the program is still valid without this list element or optional part."""
    kind, parent = program.kind, program.parent[node]
    each = (c for c in program.each_child(parent) if program.named[c] and kind[c] not in COMMENTS)
    if _has_nonlocal(program.source) and _holds_nonlocal(program, node):
        return False
    if kind[parent] in _ELEMENTS:  # of which there may be thousands
        siblings = list(islice(each, 3))
        if len(siblings) == 1:
            return not program.source[program.end[node] : program.end[parent]].lstrip().startswith(b",")
        if len(siblings) == 2 and kind[parent] in ("tuple", "expression_list", "pattern_list"):
            return program.text(siblings[siblings[0] == node])[:1] != b"*"  # a starred expression cannot stand alone
        return True
    siblings = list(each)
    at = siblings.index(node)
    if kind[node] in CLAUSES:
        return _may_drop_clause(program, node, siblings)
    if kind[node] == "if_clause" and kind[parent] == "case_clause":
        clauses = [c for c in program.children(program.parent[parent]) if kind[c] == "case_clause"]
        pattern = b" ".join(program.text(c) for c in siblings[:at])
        return clauses[-1] == parent or TAKES_ALL.search(pattern) is None  # only the last case may match anything
    if kind[node] == "for_in_clause":
        return any(kind[c] == "for_in_clause" for c in siblings[:at])
    if kind[parent] in ("parameters", "lambda_parameters"):
        if len(siblings) == 1:
            return not program.source[program.end[node] : program.end[parent]].lstrip().startswith(b",")
        return _may_drop_parameter(program, node, siblings[:at], siblings[at + 1 :])
    return True


def _may_drop_clause(program: Program, node: int, siblings: list[int]) -> bool:
    kind, kinds = program.kind[node], [program.kind[c] for c in siblings]
    excepts = sum(k in EXCEPTS for k in kinds)
    if kind in EXCEPTS:
        return excepts > 1 or ("else_clause" not in kinds and "finally_clause" in kinds)
    if kind == "case_clause":
        return len(siblings) > 1
    return kind != "finally_clause" or excepts > 0


def _may_drop_parameter(program: Program, node: int, before: list[int], after: list[int]) -> bool:
    kind = program.kind
    if before and kind[before[-1]] == "keyword_separator":
        return bool(after) and kind[after[0]] != "dictionary_splat_pattern"
    if not before and after and kind[after[0]] == "positional_separator":
        return False
    if program.text(node)[:1] == b"*":  # parameters after it become positional: defaults must come last
        defaults = ["default" in kind[c] for c in before + after if program.text(c)[:1] not in (b"*", b"/")]
        return defaults == sorted(defaults)
    return True


@lru_cache(16)
def _has_nonlocal(source: bytes) -> bool:
    return b"nonlocal" in source


def _holds_nonlocal(program: Program, node: int) -> bool:
    """Return whether the subtree contains a name, perhaps its binding, that a nonlocal statement elsewhere needs."""
    kind, parent = program.kind, program.parent
    for statement in range(len(kind)):
        if kind[statement] != "nonlocal_statement" or node <= statement < program.last[node]:
            continue
        names = {program.text(c) for c in program.children(statement) if kind[c] == "identifier"}
        inner = parent[statement]
        while kind[inner] not in ("function_definition", "class_definition"):
            inner = parent[inner]
        for at in range(node, program.last[node]):
            if kind[at] == "identifier" and program.text(at) in names and not inner <= at < program.last[inner]:
                return True
    return False


def compiles(source: bytes) -> bool:
    """Return whether CPython compiles the source, without running it. Tree-sitter accepts some invalid Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
        return False
    return True


LEXER = re.compile(
    rb"""
      [\t\f ]*(?:\\?\r?\n[\t\f ]*)+                        # line ends, with the next line's indentation
    | [\t\f ]+
    | (?:[uU]|[bB][rR]?|[fFtT][rR]?|[rR][bBfFtT]?)?(?:'''(?:[^\\]|\\[\s\S])*?'''|\"\"\"(?:[^\\]|\\[\s\S])*?\"\"\")
    | (?:[uU]|[bB][rR]?|[fFtT][rR]?|[rR][bBfFtT]?)?(?:'(?:[^'\\\n]|\\\r?[\s\S])*'|"(?:[^"\\\n]|\\\r?[\s\S])*")
    | \#[^\r\n]*
    | 0[xXoObB][0-9a-fA-F_]+ | (?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?[jJ]?
    | [A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*
    | \*\*=|//=|>>=|<<=|\.\.\.|[-+*/%&|^@<>=!:]=|\*\*|//|<<|>>|->|<>
    | [\s\S]
    """,
    re.VERBOSE,
)
KEYWORDS = frozenset(
    b"""and as assert async await break class continue def del elif else except finally for from global if import
    in is lambda nonlocal not or pass raise return while with yield""".split()
)
REPORTED = frozenset([b"got", b"want"])  # words of an observation, after which a sign belongs to the number
OPENING, CLOSING = frozenset([b"(", b"[", b"{"]), frozenset([b")", b"]", b"}"])
WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]")


def default_gap(before: bytes, left: bytes, right: bytes, inside: bool) -> bytes:
    """The usual space between two pieces, so that only unusual space takes tokens.

    `before` is the piece left of `left` (b"" at the start of a line); `inside` says whether a bracket is open.
    """
    if not left or right in CLOSING or right in (b",", b":", b";", b"."):
        return b""
    if left in OPENING or left in (b".", b"~") or (left == b"@" and not before):
        return b""
    if right[:1] == b"#":
        return b"  "
    if right in (b"(", b"["):
        return b"" if (WORD.match(left) and left not in KEYWORDS) or left in CLOSING or left[-1:] in b"'\"" else b" "
    if left == b"=" or right == b"=":
        return b"" if inside else b" "
    if left in (b"-", b"+", b"*", b"**"):
        operand = before in CLOSING or (before[:1] and before[-1:] in b"'\"")
        operand = operand or (bool(WORD.match(before)) and before not in KEYWORDS | REPORTED)
        return b" " if operand else b""
    return b" "


BINARY = frozenset([b"+", b"-", b"*", b"/", b"//", b"%", b"**", b"@", b"&", b"|", b"^", b"<<", b">>"])
ONE_OF = {
    "binary operator": BINARY,
    "comparison operator": frozenset([b"<", b"<=", b">", b">=", b"==", b"!=", b"in", b"not", b"is", b"<>"]),
    "boolean operator": frozenset([b"and", b"or"]),
    "unary operator": frozenset([b"-", b"+", b"~"]),
    "assignment operator": frozenset(op + b"=" for op in BINARY),
}
BEGINS_WITH = {
    "condition": frozenset([b"and", b"or"]),
    "comprehension clause": frozenset([b"for", b"if", b"async"]),
    # `and` and `or`: where `if x: return y` ends, a condition and an else clause are inserted at one site
    "clause": frozenset([b"elif", b"else", b"except", b"finally", b"case", b"and", b"or"]),
}

PREFIXES = {
    category: frozenset(word[:n] for word in words for n in range(len(word) + 1))
    for category, words in (ONE_OF | BEGINS_WITH).items()
}
SUBSTRINGS = {
    category: frozenset(word[i:j] for word in words for i in range(len(word) + 1) for j in range(i, len(word) + 1))
    for category, words in ONE_OF.items()
}
SECOND_PIECES = frozenset([b"", b"i", b"in", b"n", b"no", b"not"])  # and what begins them
WORD_BYTES = re.compile(rb"[A-Za-z0-9_\x80-\xff]*")


def fits(category: str, text: bytes, place: str) -> bool:
    """Return whether a text of this category may have these bytes at this place.

    place: "first" = they begin the first piece (or written-out space) of the text; "next" = they begin a later one;
    "inside" = they continue a piece. A necessary condition, cheap enough for a mask over the vocabulary; `make_edit`
    checks the whole text.
    """
    if category == "indent":
        return text.isspace()
    space = bool(text) and not text.strip(b" \t\r\n\f\\")  # no bytes: the marker alone, which may begin any piece
    if category in ONE_OF:
        if place == "inside":
            return text in SUBSTRINGS[category]
        if place == "next":  # only `not in` and `is not` have a second piece
            return category == "comparison operator" and (space or text in SECOND_PIECES)
        return text in PREFIXES[category]
    if category == "name":
        return place != "next" and WORD_BYTES.fullmatch(text) is not None
    if place == "first" and not space and category in BEGINS_WITH:
        return text in PREFIXES[category]
    return True


PYTHON = Language(
    name="python",
    suffixes=(".py", ".pyi"),
    parser=PARSER,
    categories=CATEGORIES,
    category=category,
    lists=LISTS,
    lexer=LEXER,
    default_gap=default_gap,
    opening=OPENING,
    closing=CLOSING,
    near_miss=NEAR_MISS,
    specs=SpecReader(asserts_about, doctest_asserts, first_sentence, wanted, arguments_like),
    functions=frozenset({"function_definition"}),
    classes=frozenset({"class_definition"}),
    wrappers=frozenset({"decorated_definition"}),
    atoms=frozenset({"string", "concatenated_string", "not in", "is not"}),
    comments=COMMENTS,
    conditions=CONDITIONS,
    results=RESULTS,
    optional=CLAUSES - {"case_clause"} | COMPREHENSION_CLAUSES,
    may_drop=may_drop,
    fits=fits,
    free=frozenset(CATEGORIES) - {"indent", "name", *ONE_OF, *BEGINS_WITH},
    compiles=compiles,
    docstring=docstring,
    free_names=free_names,
    bound_names=bound_names,
    lint=lint,
    probed=probed,
)
