"""Infer calls of a function from its names, annotations, defaults and body.

Each parameter gets scores for the kinds of value that it may take; an *assignment* gives every parameter one kind; a
call draws one value of its kind for every parameter. Calling decides which assignment is right.
"""

import ast
import doctest
import heapq
import random
import re
from collections.abc import Iterator, Sequence

from kelp.data.corpus.context import STDLIB
from kelp.data.record import FunctionNode
from kelp.data.specs.infer_parameters import Parameter, called_name, is_method, own_nodes, parsed
from kelp.data.specs.value_pools import VALUES

MUTATORS = frozenset(
    "append appendleft extend extendleft insert pop popleft popitem remove sort reverse clear update setdefault add "
    "discard difference_update intersection_update symmetric_difference_update rotate".split()
)


def assignments(params: Sequence[Parameter], limit: int) -> list[tuple[str, ...]]:
    """Likeliest assignments of kinds to plain values, best first."""
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

    `kept`: a parameter, and the name under which the call keeps its value for inspection afterwards.
    """
    literals, leaves = _literals(function), _leaves(params)
    pools = [list(leaf.values) or _pool(kind, literals.get(kind, ())) for leaf, kind in zip(leaves, kinds)]
    found: dict[str, None] = {}
    for attempt in range(3 * count):
        if len(found) == count:
            break
        # the first values of a pool are the plainest, so the first attempts take them
        if len(pools) == 1:
            values = [pools[0][attempt % len(pools[0])]]
        else:
            values = [rng.choice(pool[: 3 + attempt]) for pool in pools]
        # a third of the calls pass optional arguments too; a quarter, several values for *args
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
    """Arguments of one call or constructor, with the values of all leaves in order."""
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
    """Parameter that the function changes, and what to inspect then: attributes, or "" for the value itself.

    ("", ()) if it changes none.
    """
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    changed: dict[str, dict[str, None]] = {name: {} for name in names}

    def note(node: ast.AST) -> None:
        """Note that the object at this expression is modified."""
        while isinstance(node, ast.Subscript):
            node = node.value
        match node:
            case ast.Name(id=name) if name in changed:
                changed[name].setdefault("")
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in changed:
                changed[name].setdefault(attr)

    for node in sorted(own_nodes(function), key=lambda n: (getattr(n, "lineno", 0), getattr(n, "col_offset", 0))):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                note(node)
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                note(node.value)
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in MUTATORS:
                note(value)
    for name in names:
        if changed[name]:
            return name, tuple(changed[name])[:4]
    return "", ()


def returns_value(function: FunctionNode) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) or (isinstance(n, ast.Return) and n.value is not None)
               for n in own_nodes(function))  # fmt: skip


def callee(function: FunctionNode) -> str:
    """Expression by which a decorated function is called."""
    decorators = {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}
    if "property" in decorators:
        return f"{function.name}.fget"
    if "cached_property" in decorators:
        return f"{function.name}.func"
    return f"{function.name}.__func__" if "classmethod" in decorators else function.name


def doctest_calls(function: FunctionNode) -> tuple[list[str], str]:
    """Docstring examples that call the function, each a standalone expression, and their imports.

    Names assigned by earlier lines are substituted; `obj.method(x)` becomes `method(obj, x)`.
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
        for statement in parsed(example.source).body:
            match statement:
                case ast.Import(names=[ast.alias(name=module)]) | ast.ImportFrom(module=str(module), level=0):
                    if module.split(".")[0] in STDLIB:  # anything else is in the context, or unavailable
                        imports.append(ast.unparse(statement) + "\n")
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    variables[name] = Inline().visit(value)
                case ast.Expr(value=value):
                    match value:
                        case ast.Call(func=ast.Name(id="print" | "pprint"), args=[printed]):
                            value = printed
                    value = Inline().visit(value)
                    text = ast.unparse(value)
                    if not isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
                        text = f"({text})"
                    if re.search(rf"(?<![.\w]){re.escape(own)}\(", text) and len(text) < 200 and "\n" not in text:
                        found.setdefault(text)
    return list(found), "".join(dict.fromkeys(imports))


def returns_iterator(function: FunctionNode) -> bool:
    """Return whether the returned value must be listed to be compared."""
    lazy = {"map", "filter", "zip", "iter", "reversed", "enumerate", "chain", "islice", "from_iterable", "starmap",
            "takewhile", "dropwhile", "accumulate", "product", "permutations", "combinations", "zip_longest",
            "compress", "filterfalse", "groupby"}  # fmt: skip
    for node in own_nodes(function):
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if isinstance(node, ast.Return) and node.value is not None:
            value = node.value
            if isinstance(value, ast.GeneratorExp) or (isinstance(value, ast.Call) and called_name(value) in lazy):
                return True
    return False


def _literals(function: FunctionNode) -> dict[str, list[str]]:
    """Numbers and short strings of the body, which inputs should hit."""
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
