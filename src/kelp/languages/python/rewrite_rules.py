"""Rewrite rules of Python: pairs of expressions or statements that mean the same, and pairs that only look alike.

Names of one letter stand for any expression (`A` and `B` for any block), other names for themselves. Rules assume
values of Python's own types: `==` returns a truth value, there is no nan, `len` is the builtin. `where` holds one
clause per predicate of `diffusion.rewriting.infer_types` on the rule's letters; of letters joined by `|` one is
enough. `diffusion.rewriting.apply` uses a rule only where the source proves its `where`; the bank tries every rule
and keeps the results that agree on random values. The order of two exceptions is not preserved.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Rule:
    """`left` may be rewritten as `right`, and back where `both` is true.

    `truth`: in conditions only, where values of equal truth are interchangeable.
    """

    name: str
    left: str
    right: str
    where: str = ""
    both: bool = True
    truth: bool = False


def compared() -> Iterator[Rule]:
    for one, other in (("<", ">"), ("<=", ">=")):
        yield Rule(f"flip {one}", f"a {one} b", f"b {other} a", "pure a b; open a b")
    for op in ("==", "!="):
        yield Rule(f"flip {op}", f"a {op} b", f"b {op} a", "pure a b; open a b", both=False)
    for op, no in (("==", "!="), ("in", "not in"), ("is", "is not")):
        yield Rule(f"not {op}", f"not a {op} b", f"a {no} b")
    yield Rule("not !=", "not a != b", "a == b", both=False)
    yield Rule("not not in", "not a not in b", "a in b", both=False)
    yield Rule("not is not", "not a is not b", "a is b", both=False)
    for op, no in (("<", ">="), ("<=", ">"), (">", "<="), (">=", "<")):
        yield Rule(f"not {op}", f"not a {op} b", f"a {no} b", "ordered a|b")  # sets are not
    for one, other in (("<", "<"), ("<=", "<="), ("<=", "<"), ("<", "<=")):
        yield Rule(f"chain {one} {other}", f"a {one} b and b {other} c", f"a {one} b {other} c", "pure b")
    for near, op, far in (("b + 1", "<", "<="), ("b - 1", ">", ">="), ("b - 1", "<=", "<"), ("b + 1", ">=", ">")):
        yield Rule(f"integers {op} {near}", f"a {op} {near}", f"a {far} b", "int a b", both=False)
    yield Rule("one of", "x == a or x == b", "x in (a, b)", "pure x a b")
    yield Rule("none of", "x != a and x != b", "x not in (a, b)", "pure x a b")
    yield Rule("isinstance or", "isinstance(x, a) or isinstance(x, b)", "isinstance(x, (a, b))", "pure x a b")
    for method in ("startswith", "endswith"):
        yield Rule(f"{method} or", f"x.{method}(a) or x.{method}(b)", f"x.{method}((a, b))", "pure x a b; str a b")
    yield Rule("in range", "x in range(a, b)", "a <= x < b", "int x a b; pure x")


LOGIC = (
    Rule("De Morgan and", "not (a and b)", "not a or not b"),
    Rule("De Morgan or", "not (a or b)", "not a and not b"),
    Rule("bool", "bool(a)", "not not a", both=False),
    Rule("not not", "not not a", "a", both=False, truth=True),
    Rule("test bool", "bool(a)", "a", both=False, truth=True),
    Rule("swap and", "a and b", "b and a", "safe a b", both=False, truth=True),
    Rule("swap or", "a or b", "b or a", "safe a b", both=False, truth=True),
    Rule("factor and", "a and b or a and c", "a and (b or c)", "pure a"),
    Rule("factor or", "(a or b) and (a or c)", "a or b and c", "pure a"),
    Rule("choice not", "a if not c else b", "b if c else a"),
    Rule("choice of bools", "True if c else False", "bool(c)", both=False),
    Rule("choice of not", "False if c else True", "not c", both=False),
    Rule("test choice", "True if c else False", "c", both=False, truth=True),
    Rule("choice or", "a if a else b", "a or b", "pure a"),
    Rule("choice and", "b if a else a", "a and b", "pure a", both=False),
)
SIZES = (
    Rule("empty", "len(x) == 0", "not x", "sized x"),
    Rule("empty <", "len(x) < 1", "len(x) == 0", both=False),
    Rule("not empty", "len(x) != 0", "len(x) > 0"),
    Rule("not empty >=", "len(x) >= 1", "len(x) > 0"),
    Rule("not empty bool", "len(x) > 0", "bool(x)", "sized x", both=False),
    Rule("test len >", "len(x) > 0", "x", "sized x", truth=True),
    Rule("test len", "len(x)", "x", "sized x", both=False, truth=True),
    Rule("empty list ==", "x == []", "not x", "list x", both=False),
    Rule("empty text ==", "x == ''", "not x", "str x", both=False),
    Rule('empty text == ""', 'x == ""', "not x", "str x", both=False),
    Rule("test text !=", "x != ''", "x", "str x", both=False, truth=True),
    Rule('test text != ""', 'x != ""', "x", "str x", both=False, truth=True),
)


def arithmetic() -> Iterator[Rule]:
    yield Rule("commute +", "a + b", "b + a", "number a b; pure a b", both=False)
    yield Rule("commute *", "a * b", "b * a", "number a|b; pure a b", both=False)
    for op in ("&", "|", "^"):
        yield Rule(f"commute {op}", f"a {op} b", f"b {op} a", "int a b; pure a b", both=False)
    yield Rule("double", "x * 2", "x + x", "doubled x; pure x")
    yield Rule("square", "x ** 2", "x * x", "int x; pure x")
    yield Rule("add negative", "a + -b", "a - b", "number a b", both=False)
    yield Rule("negative difference", "-(a - b)", "b - a", "int a b; pure a b", both=False)
    yield Rule("negative first", "-a + b", "b - a", "number a b; pure a b", both=False)
    yield Rule("subtract both", "a - b - c", "a - (b + c)", "int a b c")
    yield Rule("associate +", "a + b + c", "a + (b + c)", "alike a b c")
    yield Rule("associate *", "a * b * c", "a * (b * c)", "int a b c")
    yield Rule("factor *", "a * b + a * c", "a * (b + c)", "int a b c; pure a")
    yield Rule("halve", "x // 2", "x >> 1", "int x")
    yield Rule("double by shift", "x * 2", "x << 1", "int x")
    yield Rule("last bit", "x % 2", "x & 1", "int x")
    yield Rule("odd", "x % 2 == 1", "x % 2 != 0", "int x")
    yield Rule("even", "x % 2 == 0", "not x % 2", "int x")
    yield Rule("test odd", "x % 2 == 1", "x % 2", "int x", truth=True)
    yield Rule("test remainder", "x % a != 0", "x % a", "int x a", truth=True)
    yield Rule("power", "pow(a, b)", "a ** b")
    yield Rule("distance", "abs(a - b)", "abs(b - a)", "number a b; pure a b", both=False)
    yield Rule("absolute", "a if a >= 0 else -a", "abs(a)", "int a; pure a", both=False)
    yield Rule("divmod", "divmod(a, b)", "(a // b, a % b)", "number a b; pure a b")
    for name, op in (("min", "<"), ("max", ">")):
        yield Rule(f"commute {name}", f"{name}(a, b)", f"{name}(b, a)", "int a b; pure a b", both=False)
        yield Rule(f"choice {name}", f"a if a {op} b else b", f"{name}(a, b)", "int a b; pure a b")
        yield Rule(f"choice {name} =", f"a if a {op}= b else b", f"{name}(a, b)", "int a b; pure a b")
        yield Rule(f"{name} of two", f"{name}([a, b])", f"{name}(a, b)")


SEQUENCES = (
    Rule("slice from 0", "x[0:n]", "x[:n]"),
    Rule("slice all from 0", "x[0:]", "x[:]"),
    Rule("slice to end", "x[n:len(x)]", "x[n:]", "pure x"),
    Rule("slice by 1", "x[a:b:1]", "x[a:b]", both=False),
    Rule("all but last", "x[:len(x) - 1]", "x[:-1]", "sequence x; pure x"),  # of 2, 3 would be off in one of them
    Rule("copy slice", "x.copy()", "x[:]", "list x"),
    Rule("list copy", "list(x)", "x[:]", "list x"),
    Rule("last item", "x[len(x) - 1]", "x[-1]", "sequence x; pure x"),
    Rule("reversed list", "x[::-1]", "list(reversed(x))", "list x"),
    Rule("reversed text", "x[::-1]", "''.join(reversed(x))", "str x"),
    Rule("range from 0", "range(0, n)", "range(n)"),
    Rule("range by 1", "range(a, b, 1)", "range(a, b)", both=False),
    Rule("not found", "x.find(a) == -1", "a not in x", "str x"),
    Rule("found", "x.find(a) != -1", "a in x", "str x"),
    Rule("found >=", "x.find(a) >= 0", "a in x", "str x"),
    Rule("counted", "x.count(a) > 0", "a in x", "sequence x; known a"),
    Rule("extend by one", "x.extend([a])", "x.append(a)", "list x"),
    Rule("unpacked", "x + [a]", "[*x, a]", "list x"),
    Rule("no list", "[]", "list()"),
    Rule("no dict", "{}", "dict()"),
    Rule("no tuple", "()", "tuple()"),
    Rule("get None", "x.get(a, None)", "x.get(a)"),
    Rule("in keys", "a in x.keys()", "a in x", both=False),
    Rule("list of keys", "list(x.keys())", "list(x)", both=False),
    Rule("sorted keys", "sorted(x.keys())", "sorted(x)", both=False),
    Rule("number of keys", "len(x.keys())", "len(x)", both=False),
)


def comprehensions() -> Iterator[Rule]:
    yield Rule("list of all", "[v for v in x]", "list(x)")
    yield Rule("set of all", "{v for v in x}", "set(x)")
    yield Rule("set of two", "set([a, b])", "{a, b}")
    for call in ("any", "all"):
        yield Rule(f"{call} of list", f"{call}([e for v in x])", f"{call}(e for v in x)", "safe e")
    for call in ("sum", "min", "max", "sorted", "tuple", "set", "list", "''.join", "' '.join", "', '.join"):
        yield Rule(f"{call} of list", f"{call}([e for v in x])", f"{call}(e for v in x)", "pure e")
        yield Rule(f"{call} of filtered list", f"{call}([e for v in x if c])", f"{call}(e for v in x if c)", "pure e c")
    for before, after in (("set(", ")"), ("set([", "])")):
        yield Rule(f"{before}...{after}", f"{before}e for v in x{after}", "{e for v in x}")
        yield Rule(f"{before}...{after} filtered", f"{before}e for v in x if c{after}", "{e for v in x if c}")
    for before, after in (("dict(", ")"), ("dict([", "])")):
        yield Rule(f"{before}...{after}", f"{before}(k, e) for v in x{after}", "{k: e for v in x}")
    yield Rule("list comprehension", "list(e for v in x)", "[e for v in x]")
    yield Rule("map", "[f(v) for v in x]", "list(map(f, x))", "apart v f; safe f")
    yield Rule("map lambda", "[e for v in x]", "list(map(lambda v: e, x))", "name v; closed e")
    yield Rule("filter lambda", "[v for v in x if c]", "list(filter(lambda v: c, x))", "name v; closed c")
    yield Rule("filter of bools", "[v for v in x if v]", "list(filter(None, x))")
    yield Rule("filter twice", "[e for v in x if c if d]", "[e for v in x if c and d]")
    yield Rule("not any", "not any(c for v in x)", "all(not c for v in x)")
    yield Rule("not all", "not all(c for v in x)", "any(not c for v in x)")
    yield Rule("count", "sum(1 for v in x if c)", "len([v for v in x if c])")
    yield Rule("contains", "any(v == a for v in x)", "a in x", "list x; apart v a; pure a")
    yield Rule("comprehension of keys", "[e for v in x.keys()]", "[e for v in x]", both=False)


def statements() -> Iterator[Rule]:
    for op in ("+", "-", "*", "//", "/", "%"):
        yield Rule(f"assign {op}", f"x = x {op} a", f"x {op}= a", "fixed x; pure x")  # a list would change in place
    for op in ("+", "-"):
        yield Rule(f"count {op}", f"x = x {op} a", f"x {op}= a", "number a; pure x")
    yield Rule("give None", "return None", "return")
    yield Rule("swap branches", "if c:\n    A\nelse:\n    B", "if not c:\n    B\nelse:\n    A")
    yield Rule("return choice", "if c:\n    return a\nelse:\n    return b", "return a if c else b")
    yield Rule("assign choice", "if c:\n    x = a\nelse:\n    x = b", "x = a if c else b", "name x")
    yield Rule("return truth", "if c:\n    return True\nelse:\n    return False", "return bool(c)")
    yield Rule("loop over keys", "for v in x.keys():\n    A", "for v in x:\n    A", both=False)
    yield Rule("loop forever", "while True:\n    A", "while 1:\n    A")


EQUAL: tuple[Rule, ...] = (
    *compared(), *LOGIC, *SIZES, *arithmetic(), *SEQUENCES, *comprehensions(), *statements(),
)  # fmt: skip

# Near misses: written for each other by mistake. The bank keeps a result only if running it shows a difference.
DIFFERENT: tuple[Rule, ...] = (
    Rule("bound included", "a < b", "a <= b"),
    Rule("bound included >", "a > b", "a >= b"),
    Rule("other way round", "a < b", "a > b", both=False),
    Rule("opposite", "a == b", "a != b"),
    Rule("and or", "a and b", "a or b"),
    Rule("De Morgan half", "not (a and b)", "not a and not b", both=False),
    Rule("De Morgan half or", "not (a or b)", "not a or not b", both=False),
    Rule("not of first alone", "not (a and b)", "not a and b", both=False),
    Rule("not lost", "not a", "a", both=False),
    Rule("or without ==", "x == a or x == b", "x == a or b", both=False),
    Rule("identity", "a == b", "a is b", both=False),
    Rule("operands swapped -", "a - b", "b - a", both=False),
    Rule("operands swapped /", "a / b", "b / a", both=False),
    Rule("operands swapped //", "a // b", "b // a", both=False),
    Rule("operands swapped %", "a % b", "b % a", both=False),
    Rule("no parentheses", "(a + b) * c", "a + b * c"),
    Rule("no parentheses -", "a - (b + c)", "a - b + c"),
    Rule("division", "a // b", "a / b"),
    Rule("power for product", "a * b", "a ** b", both=False),
    Rule("even for odd", "x % 2 == 0", "x % 2 == 1"),
    Rule("from one", "range(n)", "range(1, n)"),
    Rule("one more", "range(n)", "range(n + 1)"),
    Rule("one more end", "range(a, b)", "range(a, b + 1)"),
    Rule("last index", "len(x) - 1", "len(x)"),
    Rule("first for last", "x[0]", "x[-1]"),
    Rule("first left out", "x[n:]", "x[n + 1:]"),
    Rule("slice other end", "x[n:]", "x[:n]"),
    Rule("slice not reversed", "x[::-1]", "x[:]"),
    Rule("arms swapped", "a if c else b", "b if c else a", both=False),
    Rule("min max", "min(a, b)", "max(a, b)"),
    Rule("any all", "any(c for v in x)", "all(c for v in x)"),
    Rule("filter inverted", "[e for v in x if c]", "[e for v in x if not c]", both=False),
    Rule("filter lost", "[e for v in x if c]", "[e for v in x]", both=False),
    Rule("sorted not reversed", "sorted(x, reverse=True)", "sorted(x)"),
    Rule("append extend", "x.append(a)", "x.extend(a)", both=False),
    Rule("set for list", "list(x)", "set(x)"),
    Rule("not accumulated", "x += a", "x = a", both=False),
    Rule("taken away", "x += a", "x -= a"),
)  # fmt: skip


def directed(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Every rule from left to right, and rules that hold both ways from right to left too."""
    back = [replace(r, name=f"{r.name}, back", left=r.right, right=r.left, both=False) for r in rules if r.both]
    return (*(replace(r, both=False) for r in rules), *back)
