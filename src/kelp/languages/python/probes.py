"""Probes: a Python file that runs as before and shows, by lines that it executes, which edits would change a value.

A helper evaluates each expression that some edits change, then the edited expressions, at the same moment and with the
same variables. For an edited expression that gives another value it executes a line of its own, for one that raises
another line, so a traced run tells which edits matter to which tests. Only edited expressions that cannot change
anything are evaluated, as far as their text and the types of their variables tell (an iterator is used up, a
defaultdict grows). Nothing is known of edits of another kind.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kelp.syntax.edits import Edit, apply_disjoint
from kelp.syntax.functions import Function
from kelp.syntax.probed import Probed
from kelp.syntax.program import Program, parse

EVALUATIONS = 50_000  # of edited expressions in one run, at most
READ = ("expression", "argument", "element")  # categories of expressions whose value is read
PROBED = frozenset(
    """identifier attribute subscript call binary_operator comparison_operator boolean_operator not_operator
    unary_operator conditional_expression string integer float true false none list tuple set dictionary
    list_comprehension set_comprehension dictionary_comprehension parenthesized_expression""".split()
)
OPERATIONS = frozenset(
    """binary_operator comparison_operator boolean_operator not_operator unary_operator
    conditional_expression""".split()
)
TESTED = frozenset("if_statement elif_clause while_statement assert_statement if_clause not_operator".split())
AWAIT = b"await "
WORD = re.compile(rb"\w")
ELSEWHERE = re.compile(rb"\b(?:yield|await|lambda|super|locals|vars|dir|eval|exec)\b|:=")  # bound to their frame
FUNCTIONS = frozenset(
    """abs all any bool bytes callable chr complex dict divmod enumerate float format frozenset getattr hasattr hash
    hex int isinstance issubclass len list max min oct ord pow range repr reversed round set slice sorted str sum tuple
    type zip Counter Decimal Fraction OrderedDict defaultdict deque""".split()
)
METHODS = frozenset(
    """bit_count bit_length capitalize casefold center copy count decode difference encode endswith find format get
    index intersection isalnum isalpha isascii isdecimal isdigit isdisjoint isidentifier islower isnumeric isspace
    issubset issuperset istitle isupper items join keys ljust lower lstrip most_common partition removeprefix
    removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip
    strftime strptime symmetric_difference title total_seconds translate union upper values zfill""".split()
)
MODULES = frozenset("re math textwrap statistics".split())  # whose functions change nothing
COPIES = frozenset("list dict set frozenset tuple sorted reversed str int float bool".split())
PURE = (
    ast.Attribute, ast.BinOp, ast.BoolOp, ast.Call, ast.Compare, ast.Constant, ast.Dict, ast.DictComp,
    ast.FormattedValue, ast.IfExp, ast.JoinedStr, ast.List, ast.ListComp, ast.Name, ast.Set, ast.SetComp, ast.Slice,
    ast.Starred, ast.Subscript, ast.Tuple, ast.UnaryOp, ast.GeneratorExp, ast.comprehension, ast.keyword,
    ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
VALUE, TRUTH, FRESH = range(3)  # what of two values is compared: identity or equal plain values; truth; equality

HELPER = """
def _kelp_differs(value, expression, mode, plain=frozenset((
    int, float, complex, bool, str, bytes, tuple, frozenset, range, type(None)
))):
    if expression is None:
        return bool(value.__await__)
    other = expression()
    if mode == 1:
        return bool(other) != bool(value)
    if other is value:
        return False
    return not (type(other) is type(value) and (mode == 2 or type(value) in plain) and bool(other == value))

def _kelp_may_change(expression):
    for cell in expression.__closure__ or ():
        try:
            kind = type(cell.cell_contents)
        except ValueError:
            continue
        if hasattr(kind, '__next__') or hasattr(kind, 'default_factory'):
            return True
    return False

def _kelp_compare(differs, raised, edited, left=[EVALUATIONS]):
    for number, expression in edited:
        if expression is not None and _kelp_may_change(expression):
            continue
        if left[0] == 0:
            _kelp_marks[-1]()
            return
        left[0] -= 1
        try:
            mark = 2 * number if differs(expression) else None
        except Exception:
            mark = None if raised else 2 * number + 1
        if mark is not None:
            _kelp_marks[mark]()

def _kelp_probe(original, edited, mode, busy=[False]):
    if busy[0]:
        return original()
    value, raised = None, True
    try:
        value, raised = original(), False
        return value
    finally:
        busy[0] = True
        try:
            if raised:
                _kelp_compare(lambda expression: expression is not None and (expression(), True)[1], True, edited)
            else:
                _kelp_compare(lambda expression: _kelp_differs(value, expression, mode), False, edited)
        finally:
            busy[0] = False
"""


class _Place(NamedTuple):
    """A span of a program that a probe takes in, and what of its value is compared.

    An empty one stands before a statement: a guard, or an assignment whose name gets the value of `before`. With
    `before`, another one is compared before it is evaluated: by whether a conditional expression chooses it.
    """

    start: int
    end: int
    mode: int
    before: bytes = b""


def probed(file: bytes, functions: Sequence[Function], edits: Sequence[Iterable[Edit]]) -> Probed | None:
    """Return the file with probes for edits of its functions, or None where no edit can be probed."""
    known: list[tuple[int, list[Edit]]] = []
    symptoms = set[int]()
    insertions: list[Edit] = []
    for number, (function, some) in enumerate(zip(functions, edits, strict=True)):
        places = _places(function.program, some)
        inside = [*_insertions(function.program, places, len(known))]
        if _compiles(apply_disjoint(function.source, inside)):
            pairs = [pair for of_place in places.values() for pair in of_place.items()]
            symptoms |= {n for n, (text, _) in enumerate(pairs, len(known)) if text == AWAIT}
            known += [(number, same) for _, same in pairs]
            insertions += map(function.to_file, inside)
    if not known:
        return None
    start = _top(file, functions)
    newline = b"\r\n" if b"\r\n" in file else b"\n"
    lines = [b"_kelp_marks = ("] + [b"lambda: %d," % n for n in range(2 * len(known) + 1)] + [b")"]
    text = HELPER.replace("EVALUATIONS", str(EVALUATIONS)).encode()
    run = b"exec(compile(%r, '<probe>', 'exec'), globals())" % text.decode()  # in no line of the file
    helper = newline.join([run, *lines, b""])
    source = apply_disjoint(file, [*insertions, Edit(start, start, helper)])
    if not _compiles(source):
        return None
    line = source.count(b"\n", 0, source.index(helper)) + 3
    marks = [(line + 2 * n, line + 2 * n + 1) for n in range(len(known))]
    return Probed(source, known, marks, frozenset(symptoms), frozenset({line + 2 * len(known)}))


def _top(file: bytes, functions: Sequence[Function]) -> int:
    """Offset of the first statement of the file that holds a function."""
    tree = parse(file, functions[0].language)
    first = min(function.start for function in functions)
    return next(tree.start[node] for node in tree.children(0) if tree.end[node] > first)


def _compiles(source: bytes) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "<probes>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


_Places = dict[_Place, dict[bytes, list[Edit]]]  # of edited expressions, with the edits that each comes from


def _places(program: Program, edits: Iterable[Edit]) -> _Places:
    found: _Places = {}
    for edit in edits:
        if (seen := _place(program, edit)) is not None:
            place, text = seen
            found.setdefault(place, {}).setdefault(text, []).append(edit)
    return found


def _place(program: Program, edit: Edit) -> tuple[_Place, bytes] | None:
    if edit.start == edit.end and edit.text.strip().startswith(b"if "):
        condition = _guard(edit.text)
        if condition is None or not _is_pure(condition):
            return None
        return _Place(edit.start, edit.start, TRUTH), condition
    found = None
    for node in _around(program, edit):
        start, end = program.start[node], program.end[node]
        text = program.source[start : edit.start] + edit.text + program.source[edit.end : end]
        if ELSEWHERE.search(program.source, start, end):
            break
        if text == AWAIT + program.text(node):  # changes a coroutine, and nothing else
            return _Place(start, end, VALUE), AWAIT
        pure = _is_pure(text)
        if pure is None:
            continue
        if not pure:
            return found or _chosen(program, node, text)
        fresh = _is_fresh(program.text(node)) and _is_fresh(text)
        found = _Place(start, end, TRUTH if _is_tested(program, node) else FRESH if fresh else VALUE), text
    return found or _assigned(program, edit)


def _chosen(program: Program, node: int, text: bytes) -> tuple[_Place, bytes] | None:
    """The place and the condition of a conditional expression that an expression with effects becomes the body of."""
    match ast.parse(b"(" + text + b")", mode="eval").body:
        case ast.IfExp(test=test, body=body) if ast.unparse(body) == _normal(program.text(node)):
            condition = ast.unparse(test).encode()
            if _is_pure(condition):
                return _Place(program.start[node], program.end[node], TRUTH, b"True"), condition
    return None


def _normal(text: bytes) -> str:
    try:
        return ast.unparse(ast.parse(b"(" + text + b")", mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _assigned(program: Program, edit: Edit) -> tuple[_Place, bytes] | None:
    """The place and the new value of a name, where an edit makes an assignment another one of that name, or deletes it.

    A plain one is compared where its value is, others just before the statement.
    """
    around = _path(program, Edit(edit.start, edit.start + len(program.source[edit.start : edit.end].rstrip()), b""))
    node = next((node for node in reversed(around) if program.kind[node] == "expression_statement"), None)
    if node is None or not _in_body(program, around) or ELSEWHERE.search(program.text(node)):
        return None
    start, end = program.start[node], program.end[node]
    old = _target_and_value(program.text(node))
    new = _target_and_value(program.source[start : edit.start] + edit.text + program.source[edit.end : end])
    if old is None or new is None or (new[0] or old[0]) != old[0]:
        return None
    target, before, plain = old
    value = new[1] or target
    if not _is_pure(target) or not _is_pure(value):
        return None
    right = next((part for part in program.each_child(node + 1) if program.field[part] == "right"), None)
    if plain and right is not None:
        return (_Place(program.start[right], program.end[right], VALUE), value) if _may_probe(program, right) else None
    return (_Place(start, start, VALUE, before), value) if _is_pure(before) and _is_repeatable(before) else None


def _target_and_value(statement: bytes) -> tuple[bytes, bytes, bool] | None:
    """Target of an assignment, its value afterwards, and whether `=` gives it; empty for no statement."""
    try:
        match ast.parse(statement.strip()).body:
            case [] | [ast.Pass()]:
                return b"", b"", True
            case [ast.Assign(targets=[target], value=value)]:
                return ast.unparse(target).encode(), ast.unparse(value).encode(), True
            case [ast.AugAssign(target=target, op=op, value=value)]:
                new = ast.BinOp(ast.parse(ast.unparse(target), mode="eval").body, op, value)
                return ast.unparse(target).encode(), ast.unparse(new).encode(), False
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return None


def _is_repeatable(text: bytes) -> bool:
    """Return whether an expression without effects uses up no iterator either."""
    parts = [*ast.walk(ast.parse(b"(" + text + b")", mode="eval"))]
    calls = [part.func for part in parts if isinstance(part, ast.Call)]
    return not any(isinstance(part, ast.comprehension) for part in parts) and all(
        isinstance(called, ast.Name) and called.id in ("len", "abs", "int", "float", "str", "ord", "chr", "round")
        for called in calls
    )


def _guard(text: bytes) -> bytes | None:
    """The condition of an if statement without an else clause."""
    try:
        statement = ast.parse(re.sub(rb"\n\s*", b"\n ", text.strip())).body[0]
    except (SyntaxError, ValueError):
        return None
    if isinstance(statement, ast.If) and not statement.orelse:
        return ast.unparse(statement.test).encode()
    return None


def _around(program: Program, edit: Edit) -> Iterator[int]:
    """The expressions that may be probed, of those that hold all of an edit, the innermost first."""
    around = _path(program, edit)
    if not _in_body(program, around):
        return
    for depth in range(len(around) - 1, 0, -1):
        node, above = around[depth], around[depth - 1]
        if program.language.category(program.kind[node], program.field[node], program.kind[above], True) == "statement":
            return
        exact = (program.start[node], program.end[node]) == (edit.start, edit.end)
        if not exact and program.kind[above] in OPERATIONS:  # of which an operator may become the outer one
            continue
        if _may_probe(program, node):
            yield node


def _path(program: Program, edit: Edit) -> list[int]:
    """The nodes that hold all of an edit, the outermost first."""
    node = program.root
    around = [node]
    while True:
        inside = [c for c in program.children(node) if program.start[c] <= edit.start and edit.end <= program.end[c]]
        if not inside:
            return around
        around.append(node := next((c for c in inside if program.named[c]), inside[0]))


def _may_probe(program: Program, node: int) -> bool:
    kind, field, above = program.kind[node], program.field[node], program.parent[node]
    category = program.language.category(kind, field, program.kind[above], program.named[node])
    return (
        kind in PROBED
        and (category in READ or (field == "function" and program.kind[above] == "call"))
        and program.kind[above] not in ("delete_statement", "type", "with_item", "as_pattern", "case_clause")
    )


def _in_body(program: Program, around: Sequence[int]) -> bool:
    """Return whether nodes lead through the body of the function and no class inside of it."""
    kinds = [program.kind[node] for node in around]
    fields = [program.field[node] for node in around]
    return "body" in fields and "class_definition" not in kinds and "default_parameter" not in kinds


def _is_tested(program: Program, node: int) -> bool:
    """Return whether only the truth of an expression matters where it stands."""
    above = program.parent[node]
    while program.kind[above] in ("parenthesized_expression", "boolean_operator"):
        node, above = above, program.parent[above]
    if program.kind[above] == "conditional_expression":
        return program.field[node] == "condition" or node == [*program.each_child(above)][2]
    return program.kind[above] in TESTED and program.field[node] in ("condition", "argument", None)


def _is_pure(text: bytes) -> bool | None:
    """Return whether an expression changes nothing, as far as its text tells; None where it is no expression."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(b"(" + text + b")", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return all(isinstance(node, PURE) for node in ast.walk(tree)) and all(map(_is_harmless, calls))


def _is_harmless(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name in FUNCTIONS
        case ast.Attribute(value=ast.Name(id=module)) if module in MODULES:
            return True
        case ast.Attribute(attr=name):
            return name in METHODS
    return False


def _is_fresh(text: bytes) -> bool:
    """Return whether an expression makes a new object each time, which nothing else holds."""
    match ast.parse(b"(" + text + b")", mode="eval").body:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp() | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in COPIES
        case ast.Subscript(slice=ast.Slice()) | ast.Call(func=ast.Attribute(attr="copy")):
            return True
    return False


def _insertions(program: Program, places: _Places, first: int) -> Iterator[Edit]:
    """Insertions that put probes at places, numbered from `first`; one for each offset."""
    openings: dict[int, list[tuple[int, int, bytes]]] = {}  # the outer ones first
    closings: dict[int, list[tuple[int, int, bytes]]] = {}  # the inner ones first
    statements: dict[int, bytes] = {}
    number = first
    for place, some in places.items():
        lambdas = [b"None" if text == AWAIT else b"lambda: (%s)" % text for text in some]
        parts = [b"(%d, %s)," % pair for pair in enumerate(lambdas, number)]
        number += len(some)
        edited = b"(" + b"".join(parts) + b")"
        if place.before and place.start < place.end:
            probe = b"(_kelp_probe(lambda: " + place.before + b", " + edited + b", %d) and (" % place.mode
            openings.setdefault(place.start, []).append((-place.end, number, probe))
            closings.setdefault(place.end, []).append((-place.start, -number, b"))"))
        elif place.before:
            probe = b"_kelp_probe(lambda: (" + place.before + b"), " + edited + b", %d); " % place.mode
            statements[place.start] = statements.get(place.start, b"") + probe
        elif place.start == place.end:
            text = next(iter(some.values()))[0].text  # an if statement, between a line end and the indentation
            probe = b"_kelp_probe(lambda: False, " + edited + b", 1)"
            statements[place.start] = text[: -len(text.lstrip())] + probe + text[len(text.rstrip()) :]
        else:
            openings.setdefault(place.start, []).append((-place.end, number, b"_kelp_probe(lambda: ("))
            closings.setdefault(place.end, []).append((-place.start, -number, b"), " + edited + b", %d)" % place.mode))
    for at in sorted({*openings, *closings, *statements}):
        text = b"".join(text for *_, text in sorted(closings.get(at, ())))
        text += statements.get(at, b"")
        starts = b"".join(text for *_, text in sorted(openings.get(at, ())))
        if starts and WORD.match(program.source, at - 1):  # `if(x)`
            text += b" "
        text += starts
        yield Edit(at, at, text)
