"""Types and effects of Python expressions, inferred from the source alone.

Types are Python's own. The inference is sound where functions named like builtins are builtins, and methods named
like those of strings, lists and dicts are theirs.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kelp.diffusion.rewriting.terms import bare
from kelp.diffusion.tree_queries import bindings, child, operands, operator, plays
from kelp.syntax.program import Program
from kelp.syntax.sites import elements

NUMBERS = frozenset({"int", "float", "number", "bool"})
SEQUENCES = frozenset({"str", "list", "tuple"})
SIZED = SEQUENCES | {"dict", "set", "range"}
NODE_TYPES = {
    "integer": "int", "float": "float", "true": "bool", "false": "bool", "string": "str", "list": "list",
    "list_comprehension": "list", "tuple": "tuple", "dictionary": "dict", "dictionary_comprehension": "dict",
    "set": "set", "set_comprehension": "set", "comparison_operator": "bool", "not_operator": "bool",
}  # fmt: skip
CALL_TYPES = {
    b"len": "int", b"ord": "int", b"int": "int", b"hash": "int", b"id": "int", b"float": "float", b"str": "str",
    b"chr": "str", b"repr": "str", b"hex": "str", b"bin": "str", b"input": "str", b"list": "list", b"sorted": "list",
    b"dict": "dict", b"set": "set", b"tuple": "tuple", b"range": "range", b"bool": "bool", b"isinstance": "bool",
    b"any": "bool", b"all": "bool", b"callable": "bool", b"hasattr": "bool",
}  # fmt: skip
METHOD_TYPES = {
    b"find": "int", b"rfind": "int", b"bit_length": "int", b"split": "list", b"splitlines": "list", b"join": "str",
    b"strip": "str", b"lower": "str", b"upper": "str", b"replace": "str", b"startswith": "bool", b"endswith": "bool",
    b"isdigit": "bool", b"isalpha": "bool", b"isalnum": "bool", b"isspace": "bool", b"isupper": "bool",
    b"islower": "bool",
}  # fmt: skip
ANNOTATED = frozenset({"int", "float", "str", "bool", "list", "dict", "set", "tuple"})
PURE = frozenset([b"len", b"abs", b"ord", b"chr", b"isinstance", b"range", b"bool"])  # pure if their arguments are
LONGEST_CHAIN = 6  # names whose types depend on one another
Assumed = Mapping[bytes, str | None]  # types of the names whose inference is under way


def type_of(program: Program, node: int, assumed: Assumed = MappingProxyType({})) -> str | None:
    """The type of an expression's value; None where the source does not show it."""
    node = bare(program, node)
    kind = program.kind[node]
    if kind in NODE_TYPES:
        is_bytes = kind == "string" and b"b" in program.text(node).lower().partition(b"'")[0].partition(b'"')[0]
        return None if is_bytes else NODE_TYPES[kind]
    if plays(program, node, "name"):
        return type_of_name(program, node, assumed)
    if plays(program, node, "call"):
        return type_of_call(program, node)
    parts = operands(program, node)
    if plays(program, node, "sign"):
        inner = type_of(program, parts[-1], assumed)
        return "int" if inner in ("int", "bool") else inner if inner in NUMBERS else None
    if plays(program, node, "choice"):
        return same([type_of(program, part, assumed) for part in (parts[0], parts[-1])])
    if plays(program, node, "boolean"):
        return same([type_of(program, part, assumed) for part in parts])
    if plays(program, node, "binary"):
        return type_of_binary(operator(program, node), *(type_of(program, part, assumed) for part in parts[:2]))
    if plays(program, node, "subscript") and len(parts) == 2 and plays(program, parts[1], "slice"):
        whole = type_of(program, parts[0], assumed)
        return whole if whole in SEQUENCES else None
    return None


def type_of_binary(op: bytes, left: str | None, right: str | None) -> str | None:
    """The type of `left op right`, from the types of the operands."""
    if left in NUMBERS and right in NUMBERS:
        if left in ("int", "bool") and right in ("int", "bool") and op not in (b"/", b"**"):
            return "int"
        return "float" if op == b"/" or "float" in (left, right) else "number"
    if op in (b"-", b"/", b"//") and (left in NUMBERS or right in NUMBERS):
        return "number"
    if op == b"%" and left == "str":
        return "str"
    if op == b"+" and left == right and left in SEQUENCES:
        return left
    if op == b"*" and left in SEQUENCES:
        return left
    return None


def same(types: list[str | None]) -> str | None:
    return types[0] if len(set(types)) == 1 else None


def type_of_call(program: Program, node: int) -> str | None:
    """The type of a call's result, by the name of a builtin or method; None where it is unknown."""
    callee = operands(program, node)[0]
    if plays(program, callee, "name"):
        name = program.text(callee)
        return None if bound(program, name) else CALL_TYPES.get(name)
    if plays(program, callee, "attribute"):
        method = child(program, callee, "attribute")
        return None if method is None else METHOD_TYPES.get(program.text(method))
    return None


def bound(program: Program, name: bytes) -> bool:
    """Return whether the program binds the name, also as the name of the function itself."""
    root = program.root
    function = root if program.kind[root] != "decorated_definition" else program.children(root)[-1]
    own = child(program, function, "name")
    return (own is not None and program.text(own) == name) or any(b.name == name for b in bindings(program))


def type_of_name(program: Program, node: int, assumed: Assumed) -> str | None:
    """The type of every value bound to the name, on the assumption that the name itself has that type."""
    name = program.text(node)
    if name in assumed or len(assumed) == LONGEST_CHAIN:
        return assumed.get(name)
    targets = [b.node for b in bindings(program) if b.name == name]
    if not targets or name in declared(program):
        return None
    first = bound_type(program, targets[0], {**assumed, name: None})
    if first is None or any(bound_type(program, other, {**assumed, name: first}) != first for other in targets[1:]):
        return None
    return first


def declared(program: Program) -> set[bytes]:
    """Names that other functions may assign: those of `global` and `nonlocal`."""
    statements = ("global_statement", "nonlocal_statement")
    return {program.text(c) for n, kind in enumerate(program.kind) if kind in statements for c in program.children(n)}


def bound_type(program: Program, target: int, assumed: Assumed) -> str | None:
    """The type of the value that this target is bound to."""
    above = program.parent[target]
    kind = program.kind[above]
    if plays(program, above, "assignment"):
        right = child(program, above, "right")
        return None if right is None or kind == "pattern_list" else type_of(program, right, assumed)
    if plays(program, above, "update"):
        right = child(program, above, "right")
        operand = None if right is None else type_of(program, right, assumed)
        return type_of_binary(operator(program, above)[:-1], assumed.get(program.text(target)), operand)
    if kind == "typed_parameter":
        annotation = child(program, above, "type")
        name = "" if annotation is None else program.text(annotation).decode().partition("[")[0]
        return name if name in ANNOTATED else None
    if kind in ("for_statement", "for_in_clause"):
        return type_of_item(program, above, assumed)
    if kind == "pattern_list" and program.kind[program.parent[above]] in ("for_statement", "for_in_clause"):
        source = child(program, program.parent[above], "right")
        counted = source is not None and calls(program, source, b"enumerate")
        return "int" if counted and elements(program, above)[0] == target else None
    return None


def type_of_item(program: Program, loop: int, assumed: Assumed) -> str | None:
    """The type of the items that a loop goes over."""
    source = child(program, loop, "right")
    if source is None:
        return None
    return {"range": "int", "str": "str"}.get(type_of(program, source, assumed) or "")


def calls(program: Program, node: int, name: bytes) -> bool:
    """Return whether the node is a call of this builtin."""
    called = plays(program, node, "call") and program.text(operands(program, node)[0]) == name
    return called and not bound(program, name)


def pure(program: Program, node: int) -> bool:
    """Return whether the expression has no effects on other expressions. Attributes are assumed to be plain data."""
    for at in range(node, program.last[node]):
        if plays(program, at, "call"):
            callee = program.text(operands(program, at)[0])
            if callee not in PURE or bound(program, callee):
                return False
        if program.kind[at] in ("yield", "await", "named_expression", "generator_expression", "lambda"):
            return False
    return True


def closed(program: Program, node: int) -> bool:
    """Return whether the expression may move into a function of its own: it has no yield, await or binding."""
    return not any(program.kind[at] in ("yield", "await", "named_expression") for at in range(node, program.last[node]))


def safe(program: Program, node: int) -> bool:
    """Return whether the expression may be evaluated anywhere: no errors, no effects, reads of parameters alone."""
    node = bare(program, node)
    if plays(program, node, "name"):
        found = [b for b in bindings(program) if b.name == program.text(node)]
        return bool(found) and all("parameter" in program.kind[program.parent[b.node]] for b in found)
    if plays(program, node, "string"):
        return not program.text(node).lower().startswith((b"f", b"rf", b"fr"))
    if plays(program, node, "literal") and not plays(program, node, "sign"):
        return True
    parts = operands(program, node)
    if plays(program, node, "comparison"):
        signs = [program.text(c) for c in program.children(node) if program.field[c] == "operators"]
        return all(s in (b"==", b"!=", b"is", b"is not") for s in signs) and all(safe(program, p) for p in parts)
    if plays(program, node, "not") or plays(program, node, "boolean"):
        return all(safe(program, part) for part in parts)
    return False


def has_type(types: frozenset[str]) -> Callable[[Program, int], bool]:
    return lambda program, node: type_of(program, node) in types


# Predicates on one letter of a rule. `apart` and `alike`, on several letters, are in `apply.holds`.
PREDICATES: dict[str, Callable[[Program, int], bool]] = {
    "pure": pure,
    "safe": safe,
    "closed": closed,
    "name": lambda program, node: plays(program, node, "name"),
    "open": lambda program, node: not (plays(program, node, "literal") or plays(program, node, "string")),
    "known": lambda program, node: type_of(program, node) is not None,
    "int": has_type(frozenset({"int"})),
    "number": has_type(NUMBERS),
    "ordered": has_type(NUMBERS | {"str"}),
    "fixed": has_type(NUMBERS | {"str", "tuple"}),
    "doubled": has_type(NUMBERS | SEQUENCES),
    "str": has_type(frozenset({"str"})),
    "list": has_type(frozenset({"list"})),
    "sequence": has_type(SEQUENCES),
    "sized": has_type(SIZED),
}
