"""Infer the parameters of a function: plain values of some kind, or objects with parameters of their own.

An object is made by its class's constructor or is a stand-in (`SimpleNamespace`) with the attributes that the function
reads, so methods are called like any other function.
"""

import ast
import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from kelp.data.record import FunctionNode
from kelp.data.specs.value_pools import (
    ANNOTATIONS,
    ARGUMENT_KINDS,
    BUILTIN_METHODS,
    KNOWN,
    KNOWN_IN,
    KNOWN_NAMES,
    LONE_ARGUMENT_KINDS,
    METHOD_KINDS,
    VALUES,
    annotated_kinds,
    documented_types,
    ranked,
)

STAND_IN = "SimpleNamespace"  # of the module `types`, which the context must then import
MAX_DEPTH = 3  # nesting of objects
MAX_PARTS = 9  # parameters and attributes per call


@dataclass(frozen=True)
class Parameter:
    """Parameter of a function or of an object's constructor, or an attribute of a stand-in.

    `made` says how its value is built from `parts`: by a class, by SimpleNamespace, as "[]", as "{}", or as a function
    that returns its only part. If `made` is empty it is a plain value of one of the `kinds`, or one of `values`.
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
    """Names in the context of a function that its calls may use."""

    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)  # classes of the standard library, as they can be written here

    @staticmethod
    def of(context: str) -> "Scope":
        """Names that a context defines or imports."""
        classes, known = dict[str, ast.ClassDef](), dict[str, str]()
        for node in parsed(context).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                known |= {a.name: a.asname or a.name for a in node.names if a.name in KNOWN}
            elif isinstance(node, ast.Import):
                for a in node.names:
                    for name in KNOWN_IN.get(a.name, ()):
                        known.setdefault(name, f"{a.asname or a.name}.{name}")
        return Scope(classes, known)

    def owner(self, function: FunctionNode) -> ast.ClassDef | None:
        """Class that has the function as a method."""
        if not is_method(function):
            return None
        owners = [c for c in self.classes.values() if any(getattr(s, "name", "") == function.name for s in c.body)]
        return owners[-1] if owners else None

    def bases(self, node: ast.ClassDef) -> list[str]:
        """Names of all base classes, transitively."""
        found: dict[str, None] = {}
        above = [node]
        while above:
            for base in above.pop().bases:
                name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
                if name not in found and name in self.classes:
                    above.append(self.classes[name])
                found.setdefault(name)
        return list(found)


def parameters(function: FunctionNode, scope: Scope = Scope(), *, stand_ins: bool = False) -> list[Parameter]:
    """Parameters that a call may fill (all but **kwargs), with the kinds of value that each seems to take.

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


class _Guesser:
    """Infers the parameters of one function from their uses in its body."""

    def __init__(self, function: FunctionNode, scope: Scope, *, stand_ins: bool, depth: int = 0):
        self.function, self.scope, self.stand_ins, self.depth = function, scope, stand_ins, depth
        self.owner = scope.owner(function)
        self.uses = _Uses(function)
        self.parts = 0

    def listed(self) -> list[Parameter]:
        """Parameters in order, each with the kinds inferred for it."""
        a = self.function.args
        documented = documented_types(self.function)
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
        """Infer the value at a path: a parameter ("x"), an attribute ("x.y"), an element ("x[]")."""
        self.parts += 1
        typed = typed.strip("'\"")
        kinds = ranked(name, typed, default, self.uses.of(path), self.uses.of(path + "[]"))
        plain = Parameter(name, how, required, kinds)
        words = re.findall(r"\w+", typed)
        container = bool(words) and words[0].lower() in ("list", "sequence", "iterable", "set", "tuple", "collection")
        in_scope = next((w for w in words if w in self.scope.known), "")
        known = in_scope if typed else KNOWN_NAMES.get(name, name.rpartition("_")[2])
        if known in self.scope.known and not container:
            made = self.scope.known[known]
            values = tuple(f"{made}({given})" for given in KNOWN[known])
            return Parameter(name, how, required, (("known", 5.0),), values)
        is_set = isinstance(default, ast.Constant) and default.value is not None
        if is_set or depth >= MAX_DEPTH or self.parts > MAX_PARTS:
            return plain
        node = self.class_of(path, name, words)
        if node is not None and not self.stand_ins and required:
            if container:
                parts = tuple(self.object(path + "[]", "", "positional", True, node, depth + 1) for _ in range(2))
                return Parameter(name, how, required, made="[]", parts=parts)
            return self.object(path, name, how, required, node, depth + 1)
        if words and annotated_kinds(typed):
            return plain
        if self.uses.has_uses(path + "()"):
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
        """Class in scope that the annotation's words or the parameter's name refer to; None if there is none."""
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
        """Instance, made by the class's constructor."""
        bases = self.scope.bases(node)
        if any(base.endswith(("Enum", "Flag")) for base in bases):
            targets = [s.targets[0] for s in node.body if isinstance(s, ast.Assign)]
            values = tuple(f"{node.name}.{t.id}" for t in targets[:6] if isinstance(t, ast.Name))
            return Parameter(name, how, required, (("member", 5.0),), values or ("None",))
        return Parameter(name, how, required, made=node.name, parts=tuple(self.constructed(path, node, depth)))

    def constructed(self, path: str, node: ast.ClassDef, depth: int) -> list[Parameter]:
        """Parameters of a class's constructor; uses of an attribute count for the parameter of its name."""
        bases = self.scope.bases(node)
        line = [node, *(self.scope.classes[b] for b in bases if b in self.scope.classes)]
        for method in (s for cls in line for s in cls.body):
            if isinstance(method, ast.FunctionDef) and method.name in ("__init__", "__new__"):
                inner = _Guesser(method, self.scope, stand_ins=self.stand_ins, depth=depth + 1)
                inner.parts = self.parts
                for name in inner.uses.names:
                    scores = self.uses.of(f"{path}.{name}") or self.uses.of(f"{path}._{name}")
                    for kind, score in scores.items():
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
        kinds = [ANNOTATIONS[b] for b in bases if b in ANNOTATIONS and b != "object"]
        return [Parameter("", "positional", True, ((kinds[0], 5.0),))] if kinds else []

    def stand_in(self, path: str, name: str, how: str, required: bool, depth: int) -> Parameter:
        """SimpleNamespace with the attributes that the function reads."""
        attributes = self.uses.attributes.get(path, {})
        parts = tuple(self.guess(f"{path}.{a}", a, "keyword", True, "", None, depth) for a in attributes)
        return Parameter(name, how, required, made=STAND_IN, parts=parts)


class _Uses:
    """Uses of a function's parameters, their attributes and elements, by path."""

    def __init__(self, function: FunctionNode):
        a = function.args
        self.names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg]))]
        self.paths = {name: name for name in self.names}  # local variables that are aliases of a path included
        self.receiver = self.names[0] if is_method(function) else ""
        self.scores: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.attributes: dict[str, dict[str, None]] = defaultdict(dict)  # path -> attributes that are read
        self.keys: dict[str, dict[str, None]] = defaultdict(dict)  # path -> strings that it is subscripted with
        nodes = [node for statement in function.body for node in ast.walk(statement)]
        for node in nodes:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.alias(name, self.path(value))
                case ast.For() | ast.comprehension() if isinstance(node.target, ast.Name):
                    self.alias(node.target.id, self.below(node.iter, "[]"))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        for node in nodes:
            self.visit(node, called)

    def of(self, path: str) -> dict[str, float]:
        return self.scores.get(path, {})

    def alias(self, name: str, path: str | None) -> None:
        if path is not None and name not in self.paths:
            self.paths[name] = path

    def path(self, node: ast.AST | None) -> str | None:
        """Path of an expression from a parameter ("x.y", "x[]", "x.f()"); None if it starts at no parameter."""
        match node:
            case ast.Name(id=name):
                return self.paths.get(name)
            case ast.Attribute(value=value, attr=attr):
                return self.below(value, f".{attr}")
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
                return self.below(value, f"[{key!r}]")
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return self.below(value, "[]")
            case ast.Call(func=ast.Name() | ast.Attribute() as callee):
                above = self.path(callee)
                if above is not None and (above.rpartition(".")[2] not in BUILTIN_METHODS or above.count(".") == 1):
                    return f"{above}()"
        return None

    def below(self, node: ast.AST, step: str) -> str | None:
        above = self.path(node)
        return None if above is None else above + step

    def has_uses(self, path: str) -> bool:
        return any(path in found or path + "[]" in found for found in (self.scores, self.attributes, self.keys))

    def note(self, node: ast.AST | None, **scores: float) -> None:
        path = self.path(node)
        if path is not None:
            for kind, score in scores.items():
                self.scores[path][kind] = max(self.scores[path][kind], score)

    def visit(self, node: ast.AST, called: set[int]) -> None:
        match node:
            case ast.Attribute(ctx=ast.Load()):
                self.visit_read(node, id(node) in called)
            case ast.Call():
                self.visit_call(node)
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source):
                self.note(source, ints=2, str=1.2, strs=1.2)
                if isinstance(target, ast.Tuple):
                    self.note(source, pairs=2.5, intervals=2)
            case ast.Subscript():
                self.visit_subscript(node)
            case ast.BinOp(left=left, op=op, right=right):
                self.visit_operand(left, op, right)
                self.visit_operand(right, op, left)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                self.note(operand, int=2)
            case ast.AugAssign(target=target):
                self.note(target, int=1.5)
                if isinstance(target, ast.Attribute) and (path := self.path(target.value)) is not None:
                    self.attributes[path].setdefault(target.attr)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for comparison, (one, other) in zip(ops, itertools.pairwise([left, *comparators])):
                    self.visit_comparison(one, comparison, other)
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                self.note(test, bool=0.8)

    def visit_read(self, node: ast.Attribute, is_called: bool) -> None:
        """Note an attribute that is read; a call of a method of builtins counts only on the receiver."""
        path, name = self.path(node.value), node.attr
        is_builtin = is_called and name in BUILTIN_METHODS and path != self.receiver
        if path is not None and not (is_builtin or name.startswith("__")):
            self.attributes[path].setdefault(name)

    def visit_call(self, call: ast.Call) -> None:
        callee, given = call.func, call.args
        if isinstance(callee, ast.Attribute) and self.path(callee.value) != self.receiver:
            self.note(callee.value, **METHOD_KINDS.get(callee.attr, {}))
            if callee.attr == "join":
                for argument in given:
                    self.note(argument, strs=4, str=1)
        if isinstance(callee, ast.Name) or (isinstance(callee, ast.Attribute) and callee.attr not in BUILTIN_METHODS):
            plain = not call.keywords and not any(isinstance(g, ast.Starred) for g in given)
            self.note(callee, **{("func0", "func", "func2", "func3")[min(len(given), 3) if plain else 3]: 6})
        self.visit_arguments(called_name(call), given)

    def visit_arguments(self, by: str, given: list[ast.expr]) -> None:
        for argument in given:
            self.note(argument, **(LONE_ARGUMENT_KINDS if len(given) == 1 else ARGUMENT_KINDS).get(by, {}))
        if by == "isinstance" and len(given) == 2:
            for type_name in re.findall(r"\w+", ast.unparse(given[1])):
                if type_name in ANNOTATIONS:
                    self.note(given[0], **{ANNOTATIONS[type_name]: 2.5})

    def visit_subscript(self, node: ast.Subscript) -> None:
        value, index = node.value, node.slice
        if isinstance(value, ast.Subscript):
            self.note(value.value, matrix=4, grid=2)
        if isinstance(index, ast.Slice):
            self.note(value, ints=2, str=2)
            return
        self.note(value, ints=1.5, str=1, dict=1, strs=0.8, int_tuple=0.8)
        self.note(index, int=1.5)
        if isinstance(index, ast.Constant) and isinstance(key := index.value, str):
            self.note(value, dict=4)
            if len(key) < 30 and isinstance(node.ctx, ast.Load) and (path := self.path(value)) is not None:
                self.keys[path].setdefault(key)

    def visit_operand(self, side: ast.expr, op: ast.operator, other: ast.expr) -> None:
        if isinstance(other, ast.Constant) and isinstance(other.value, str):
            self.note(side, str=3 if isinstance(op, ast.Add) else 0.5)
        elif isinstance(op, ast.Add | ast.Mult):
            self.note(side, int=1.2, float=0.4)
        else:
            self.note(side, int=2.2, float=0.7)

    def visit_comparison(self, one: ast.expr, op: ast.cmpop, other: ast.expr) -> None:
        for side, against in ((one, other), (other, one)):
            if isinstance(against, ast.Constant) and (kind := type(against.value).__name__) in VALUES:
                self.note(side, **{kind: 2})
        if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            self.note(one, int=1.5, float=0.5)
            self.note(other, int=1.5, float=0.5)
        if isinstance(op, ast.In | ast.NotIn):
            self.note(other, ints=1.5, str=1.2, dict=1, set=0.5)


def is_method(function: FunctionNode) -> bool:
    positional = [*function.args.posonlyargs, *function.args.args]
    return bool(positional) and positional[0].arg in ("self", "cls", "klass", "mcs")


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """Nodes of the body, without the insides of nested functions and classes."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))


def called_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def parsed(source: str) -> ast.Module:
    """Parsed module; an empty one if the source does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])
