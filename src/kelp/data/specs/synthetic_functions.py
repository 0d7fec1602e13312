"""Synthetic functions: loops, guards and arithmetic combined at random, with a sentence of intent for each.

The toy functions are too few to learn from: a model memorizes them and takes any program for a broken one of them.
This module makes any number in the same style. Their tests come from running them, as for any function
(`kelp.data.specs`). Functions that pass the tests of a toy task, or look or are named like one, are dropped.
"""

import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from kelp.data import toy
from kelp.data.corpus.decontaminate import fingerprint, toy_tasks
from kelp.data.record import Record, parse_source
from kelp.data.specs.generate import choose, discriminating, distinguished, evaluate, repeatable
from kelp.diffusion.mutations import near_misses
from kelp.execution import Limits, Sandbox

ORIGIN = "compositions"
LIMITS = Limits(seconds=5, memory_mb=512)
PIECE = 200  # functions per task of a worker process
CALLS = 20  # calls tried per function
PARTS = ("missing statement", "missing guard", "missing return")  # kinds of near miss that the tests must all detect
PROBES = 12  # other near misses that the tests are tried on ...
KILLED = 0.8  # ... and the share that must be detected
HELD_OUT = 20  # one function in this many is held out
MORE = 2  # tests at most beyond the most discriminating ones

NUMBERS = "a b c x y n m low high first second limit target start step".split()
LISTS, TEXTS = "items numbers values elements xs".split(), "text word letters string s".split()
COMPARED = {
    "<": ("smaller than", "smaller"), ">": ("larger than", "larger"), "<=": ("at most", "most"),
    ">=": ("at least", "least"), "==": ("equal to", "equal"), "!=": ("different from", "other"),
}  # fmt: skip


class Part(NamedTuple):
    """Piece of a program, its English description, and a word of that for the function's name."""

    code: str
    words: str
    name: str = ""


class Function(NamedTuple):
    parameters: list[str]
    body: list[str]
    intent: str
    names: list[str]


def compositions(count: int, seed: int = 0, jobs: int = 2) -> list[Record]:
    """About `count` distinct functions with tests; a pure function of count and seed, whatever `jobs` is."""
    pieces = [(seed, range(at, min(count, at + PIECE))) for at in range(0, count, PIECE)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        made = [record for piece in pool.imap(_make, pieces) for record in piece]
    known, tasks = {fingerprint(r.source).form for r in toy.TRAIN}, toy_tasks()
    marks = [(fingerprint(record.source), record) for record in made]
    by_form = {m.form: record for m, record in marks if m.form not in known and tasks.match(m) is None}
    # Held out, as whole projects are, to measure generalization.
    return [r if n % HELD_OUT else replace(r, split="valid") for n, r in enumerate(by_form.values())]


def _make(piece: tuple[int, range]) -> list[Record]:
    seed, numbers = piece
    with Sandbox(limits=LIMITS, allow_weak=True) as sandbox:
        made = [composition(random.Random(f"composition {seed} {n}"), sandbox) for n in numbers]
    return [record for record in made if record is not None]


def composition(rng: random.Random, sandbox: Sandbox) -> Record | None:
    """Random function with tests that fail without any one of its statements, and for most other near misses.

    None if there are no such tests, or if the function does what a toy task does.
    """
    record = compose(rng)
    calls = list(dict.fromkeys(_call(record, rng) for _ in range(CALLS)))
    results = discriminating(evaluate(sandbox, record, calls))
    if not results or does_a_task(record, sandbox):
        return None
    program = parse_source(record.source)
    misses = near_misses(program)
    parts = [m.edit for m in misses if m.kind in PARTS]
    others = [m.edit for m in misses if m.kind not in PARTS]
    edits = [*parts, *rng.sample(others, min(PROBES, len(others)))]
    killers = distinguished(record, [e.apply(program.source).decode() for e in edits], results, sandbox)
    chosen = choose(results, [k for k in killers if k is not None])
    killed = [k is None or not k.isdisjoint(chosen) for k in killers]
    if not chosen or not all(killed[: len(parts)]) or sum(killed) < KILLED * len(killed):
        return None
    rest = [i for i in range(len(results)) if i not in chosen]
    chosen += rng.sample(rest, min(len(rest), rng.randint(0, MORE)))
    asserts = repeatable(record, [results[i] for i in chosen], sandbox)
    return replace(record, asserts=asserts) if asserts else None


def does_a_task(record: Record, sandbox: Sandbox) -> bool:
    """Return whether the function passes the tests of a toy task."""
    tests = [[a.removeprefix("assert ").split(" == ") for a in task.asserts] for task in toy.TASKS]
    calls = [call.replace(f"{task.name}(", f"{record.name}(", 1) for task, t in zip(toy.TASKS, tests) for call, _ in t]
    results = iter(evaluate(sandbox, record, calls))
    # All of each task's are taken from the iterator: no `all` of a generator, which would stop early.
    return any([all([next(results).repr == expected for _, expected in t]) for t in tests])


def _call(record: Record, rng: random.Random) -> str:
    """Call with random arguments of the types that the parameter names stand for."""
    names = record.source[record.source.index("(") + 1 : record.source.index(")")].split(", ")
    most = rng.choice((3, 6, 12))  # small ranges give equal numbers now and then

    def argument(name: str) -> object:
        if name in LISTS:
            return [rng.randint(-most // 2, most) for _ in range(rng.choice((0, 1, 2, 3, 3, 4, 5)))]
        if name in TEXTS:
            return "".join(rng.choices(rng.choice(("ab", "abcde", "aB c", "kelp", "a1 2b")), k=rng.randint(0, 6)))
        if names[0] in TEXTS:
            return rng.choice("abce kp1 ")
        return rng.randint(0, 999) if name == names[0] and "while" in record.source else rng.randint(-most // 2, most)

    return f"{record.name}({', '.join(repr(argument(name)) for name in names)})"


def compose(rng: random.Random) -> Record:
    """A random function."""
    kinds = (_formula, _cases, _chosen, _fold, _fold, _fold, _best, _built, _search, _range, _digits, _text, _text)
    function = rng.choice(kinds)(rng)
    words = [word for word in function.names if word]
    name = "_".join(words[:3] if rng.random() < 0.8 else rng.sample(words, 1))
    name += "_" * (name in function.parameters)
    lines = [f"def {name}({', '.join(function.parameters)}):", *("    " + line for line in function.body)]
    intent = function.intent[0].upper() + function.intent[1:] + "."
    return Record("\n".join(lines) + "\n", name, intent, origin=ORIGIN, project="toy", context="")


# Values and conditions


def _value(rng: random.Random, x: str, others: Sequence[str] = (), of: str = "") -> Part:
    """Expression of the number `x`; `of` is its English name (default: `x`)."""
    of, k = of or x, rng.choice(["1", "2", "3", "10", *others, *others])
    return rng.choice([
        Part(f"{x} * {x}", f"the square of {of}", "square"), Part(f"{x} * 2", f"twice {of}", "double"),
        Part(f"{x} + {x}", f"twice {of}", "double"), Part(f"-{x}", f"{of} negated", "neg"),
        Part(f"{x} + {k}", f"{of} plus {k}", "add"), Part(f"{x} - {k}", f"{of} minus {k}", "minus"),
        Part(f"{k} - {x}", f"{k} minus {of}", "less"), Part(f"{x} * {k}", f"{of} times {k}", "times"),
        Part(f"{x} // 2", f"half of {of}", "half"), Part(f"{x} % 10", f"the last digit of {of}", "digit"),
    ])  # fmt: skip


def _formula_of(rng: random.Random, names: Sequence[str]) -> Part:
    """Number computed from one to three others."""
    x, *rest = rng.sample(names, len(names))
    simple = Part(x, x, "")
    if not rest or rng.random() < 0.3:
        return rng.choice([simple, _value(rng, x), Part(str(n := rng.randint(-1, 3)), str(n), "")])
    y = rest[0]
    left = rng.choice([simple, simple, simple, _value(rng, x)])
    symbol, word, name = rng.choice(
        [("+", "plus", "sum"), ("-", "minus", "difference"), ("-", "minus", "sub"), ("*", "times", "product")]
    )
    code = f"({left.code})" if symbol == "*" and any(s in left.code for s in "+-") else left.code
    right = f"({y} + {rest[1]})" if len(rest) > 1 and rng.random() < 0.4 else y
    return Part(f"{code} {symbol} {right}", f"{left.words} {word} {right.strip('()')}", name or left.name)


def _condition(rng: random.Random, x: str, others: Sequence[str] = (), joined: float = 0.2) -> Part:
    """Condition that holds for some numbers `x`."""
    if rng.random() < joined:
        first, second = _condition(rng, x, others, 0), _condition(rng, x, others, 0)
        word = rng.choice(["and", "or"])
        return Part(f"{first.code} {word} {second.code}", f"{first.words} {word} {second.words}", first.name)
    k, divisor = rng.choice(["0", "1", "2", "5", *others, *others, *others]), rng.choice(["3", "5", *others])
    symbol, (words, name) = rng.choice(list(COMPARED.items()))
    compared = Part(f"{x} {symbol} {k}", f"{words} {k}", name)
    return rng.choice([
        compared, compared, compared,
        Part(f"{x} % 2 == 0", "even", "even"), Part(f"{x} % 2 == 1", "odd", "odd"),
        Part(f"{x} % {divisor} == 0", f"divisible by {divisor}", "divisible"),
        Part(f"{x} > 0", "positive", "positive"), Part(f"{x} < 0", "negative", "negative"),
    ])  # fmt: skip


def _letters(rng: random.Random, letter: str, others: Sequence[str]) -> Part:
    """Condition that holds for some letters."""
    other = [Part(f"{letter} {s} {o}", f"{words} {o}", w) for o in others for s, (words, w) in COMPARED.items()]
    return rng.choice([
        *rng.sample(other, min(4, len(other))),
        Part(f"{letter} in 'aeiou'", "vowels", "vowels"), Part(f"{letter} not in 'aeiou'", "no vowels", "consonants"),
        Part(f"{letter}.isdigit()", "digits", "digits"), Part(f"{letter}.isupper()", "in upper case", "upper"),
        Part(f"{letter} != ' '", "no spaces", "spaceless"), Part(f"{letter} == ' '", "spaces", "spaces"),
    ])  # fmt: skip


def _update(rng: random.Random, name: str, symbol: str, value: str) -> str:
    loose = any(s in value for s in "+-%") and symbol in "*-"
    return f"{name} {symbol}= {value}" if rng.random() < 0.6 else (
        f"{name} = {name} {symbol} " + (f"({value})" if loose else value)
    )  # fmt: skip


def _block(head: str, *body: str) -> list[str]:
    return [head, *("    " + line for line in body)]


def _empty(rng: random.Random, items: str) -> str:
    return rng.choice([f"not {items}", f"{items} == []", f"len({items}) == 0"])


def _used(names: Sequence[str], body: Sequence[str]) -> list[str]:
    """Names that the lines read."""
    words = {word for line in body for word in "".join(c if c.isalnum() or c == "_" else " " for c in line).split()}
    return [name for name in names if name in words]


# Kinds of function


def _formula(rng: random.Random) -> Function:
    names = rng.sample(NUMBERS, rng.randint(1, 3))
    part = _formula_of(rng, names)
    while not _used(names, [part.code]):
        part = _formula_of(rng, names)
    body = [f"return {part.code}"] if rng.random() < 0.7 else [f"result = {part.code}", "return result"]
    return Function(_used(names, body), body, f"return {part.words}", [part.name or "same"])


def _cases(rng: random.Random) -> Function:
    """Guards, each with its return value, and a final return value."""
    names = rng.sample(NUMBERS, rng.randint(1, 3))
    body, phrases, called = list[str](), list[str](), list[str]()
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        x = rng.choice(names)
        holds, part = _condition(rng, x, [n for n in names if n != x], 0.1), _formula_of(rng, names)
        body += _block(f"if {holds.code}:", f"return {part.code}")
        phrases, called = [*phrases, f"{part.words} if {x} is {holds.words}"], [*called, holds.name]
    last = _formula_of(rng, names)
    if rng.random() < 0.3:
        body += _block("else:", f"return {last.code}")
    else:
        body.append(f"return {last.code}")
    return Function(_used(names, body), body, f"return {', '.join(phrases)}, else {last.words}", [last.name, *called])


def _chosen(rng: random.Random) -> Function:
    """Initial value, and conditions that change it."""
    names, result = rng.sample(NUMBERS, rng.randint(2, 3)), rng.choice(["result", "best", "value"])
    first = rng.choice([Part(names[0], names[0]), _formula_of(rng, names)])
    body, phrases = [f"{result} = {first.code}"], [first.words]
    for name in rng.sample(names[1:], rng.randint(1, len(names) - 1)):
        x = rng.choice([result, name])
        holds = _condition(rng, x, [name if x == result else result], 0.1)
        part = rng.choice([Part(name, name), _formula_of(rng, [name, result])])
        body += _block(f"if {holds.code}:", f"{result} = {part.code}")
        phrases.append(f"{part.words} if {'that' if x == result else x} is {holds.words}")
    body.append(f"return {result}")
    words = ", or ".join(phrases).replace(result, "that")
    return Function(_used(names, body), body, f"return {words}", ["choose", rng.choice(["value", "number", "result"])])


def _folded(rng: random.Random, loop: str, x: str, others: Sequence[str], plural: str) -> tuple[list[str], str, str]:
    """Lines of a loop that reduces many numbers to one, the description of the result, and a name."""
    result = rng.choice(["result", "result", "total", "count", "answer"])
    holds = _condition(rng, x, others) if rng.random() < 0.6 else None
    value = _value(rng, x, others, "each") if rng.random() < 0.35 else None
    init, symbol, words, name = rng.choice([
        ("0", "+", "the sum of", "sum"), ("0", "+", "the sum of", "total"), ("1", "*", "the product of", "product"),
        ("0", "1", "how many of", "count"), ("0", "1", "how many of", "count"), ("0", "-", "minus the sum of", "minus"),
    ])  # fmt: skip
    if symbol == "1" and holds is None:
        holds = _condition(rng, x, others)
    step = _update(rng, result, "+", "1") if symbol == "1" else _update(rng, result, symbol, value.code if value else x)
    inner = _block(f"if {holds.code}:", step) if holds else [step]
    mapped = f"{value.words} for " if value and symbol != "1" else ""
    intent = f"{words} {mapped}{plural}" + (f" that are {holds.words}" if holds else "")
    finish, end = result, ""
    if rng.random() < 0.15:
        part = _value(rng, result, others)
        finish, end = part.code, f", {part.words.replace(result, 'that')}"
    name = f"{name}_{holds.name}" if holds else name
    return [f"{result} = {init}", *_block(loop, *inner), f"return {finish}"], intent + end, name


def _fold(rng: random.Random) -> Function:
    """Reduce a list to one number."""
    items, x = rng.choice(LISTS), rng.choice(["x", "item", "n", "value"])
    others = rng.sample([n for n in NUMBERS if n != x], rng.choice((0, 0, 1, 1, 2)))
    body, intent, name = _folded(rng, f"for {x} in {items}:", x, others, f"the {items}")
    names = _used([items, *others], body)
    if rng.random() < 0.25:
        value = rng.choice(["-1", "1", "0", "None", *names[1:]])
        body = [*_block(f"if {_empty(rng, items)}:", f"return {value}"), *body]
        intent += f", or {value} if there are none"
        names = _used([items, *others], body)
    elif rng.random() < 0.15:
        body[-1] = f"return {body[0].split()[0]} {rng.choice(('/', '//'))} len({items})"
        body = [*_block(f"if {_empty(rng, items)}:", "return 0"), *body]
        intent += " divided by the length, or 0 for none"
    return Function(names, body, f"return {intent}", [name])


def _best(rng: random.Random) -> Function:
    """Best item of a list by some order."""
    items, x, result = rng.choice(LISTS), rng.choice(["x", "item", "n"]), rng.choice(["result", "best"])
    symbol = rng.choice(["<", ">", "<=", ">="])
    k, word = rng.choice(["2", "3", "10"]), "smallest" if "<" in symbol else "largest"
    make, of = rng.choice([
        ("{}", ""), ("{0} * {0}", "square"), ("-{}", "negative"), ("{} % " + k, f"remainder by {k}"),
        ("{} // " + k, f"quotient by {k}"), ("abs({})", "size"),
    ])  # fmt: skip
    empty = rng.choice(["None", "0", "-1", "[]"])
    better = f"{make.format(x)} {symbol} {make.format(result)}"
    body = [
        *_block(f"if {_empty(rng, items)}:", f"return {empty}"),
        f"{result} = {items}[{rng.choice(['0', '0', '-1'])}]",
        *_block(f"for {x} in {items}:", *_block(f"if {better}:", f"{result} = {x}")),
    ]
    part = _value(rng, result, (), "that") if rng.random() < 0.3 else Part(result, "it")
    intent = f"find the one of the {items} whose {of or 'value'} is {word} and return {part.words}, or {empty} for none"
    return Function([items], [*body, f"return {part.code}"], intent, [word, part.name or of.split(" ")[0]])


def _built(rng: random.Random) -> Function:
    """Build one list from another."""
    items, x = rng.choice(LISTS), rng.choice(["x", "item", "n"])
    others = rng.sample([n for n in NUMBERS if n != x], rng.choice((0, 0, 1, 2)))
    result = rng.choice(["result", "found"])
    holds = _condition(rng, x, others) if rng.random() < 0.6 else None
    value = _value(rng, x, others, "each") if holds is None or rng.random() < 0.4 else Part(x, "each")
    order = rng.random()
    if order < 0.25:
        test = f" if {holds.code}" if holds else ""
        body = [f"return [{value.code} for {x} in {items}{test}]"]
    else:
        step = f"{result}.append({value.code})" if order < 0.85 else f"{result} = [{value.code}] + {result}"
        inner = _block(f"if {holds.code}:", step) if holds else [step]
        body = [f"{result} = []", *_block(f"for {x} in {items}:", *inner), f"return {result}"]
    what = f"{value.words} of the {items}" if value.code != x else f"the {items}"
    intent = (
        f"return a list of {what}" + (f" that are {holds.words}" if holds else "") + ", last first" * (order >= 0.85)
    )
    return Function(_used([items, *others], body), body, intent, [holds.name if holds else "", value.name, items])


def _search(rng: random.Random) -> Function:
    """First item that satisfies a condition, its index, or whether there is one."""
    items, x = rng.choice(LISTS), rng.choice(["x", "item", "n"])
    others = rng.sample([n for n in NUMBERS if n != x], rng.choice((0, 1, 1, 2)))
    holds = _condition(rng, x, others)
    found, missing, intent, name = rng.choice(
        [
            (x, "None", "the first of the {} that is {}, or None", "first"),
            (x, "0", "the first of the {} that is {}, or 0", "first"),
            ("True", "False", "whether any of the {} is {}", "any"),
            ("False", "True", "whether none of the {} is {}", "no"),
            ("i", "-1", "the index of the first of the {} that is {}, or -1", "index"),
        ]
    )
    loop = f"for i, {x} in enumerate({items}):" if found == "i" else f"for {x} in {items}:"
    body = [*_block(loop, *_block(f"if {holds.code}:", f"return {found}")), f"return {missing}"]
    intent = f"return {intent.format(items, holds.words)}"
    return Function(_used([items, *others], body), body, intent, [name, holds.name])


def _range(rng: random.Random) -> Function:
    """Reduce all numbers up to a bound, or all indices of a list, to one number."""
    x = rng.choice(["i", "k", "x"])
    if rng.random() < 0.3:
        items, y = rng.choice(LISTS), rng.choice(["count", "result"])
        symbol, (_, word) = rng.choice(list(COMPARED.items()))
        step = _update(rng, y, "+", rng.choice(["1", f"{items}[{x}]", x]))
        test = rng.choice([f"{items}[{x}] {symbol} {items}[{x} + 1]", f"{items}[{x} + 1] {symbol} {items}[{x}]"])
        loop = _block(f"for {x} in range(len({items}) - 1):", *_block(f"if {test}:", step))
        intent = f"return what {step.split()[-1]} adds up to over the {items} of which {test}"
        return Function([items], [f"{y} = 0", *loop, f"return {y}"], intent, ["count", "pairs", word])
    low, high, k = *rng.sample(["low", "high", "n", "m", "start", "stop"], 2), rng.choice(["limit", "step", "target"])
    over, to = rng.choice([
        (f"range({high})", f"the numbers below {high}"), (f"range(1, {high} + 1)", f"the numbers from 1 to {high}"),
        (f"range({low}, {high})", f"the numbers from {low} up to {high}"),
        (f"range({low}, {high} + 1)", f"the numbers from {low} to {high}"),
    ])  # fmt: skip
    body, intent, name = _folded(rng, f"for {x} in {over}:", x, rng.choice([[], [k]]), to)
    return Function(_used([low, high, k], body), body, f"return {intent}", [name, "numbers"])


def _digits(rng: random.Random) -> Function:
    """Compute a number from the digits of another."""
    n, digit = rng.choice(["n", "x", "number"]), rng.choice(["digit", "d", "last"])
    others = rng.choice([[], [], ["target"], ["limit"]])
    body, intent, name = _folded(rng, "loop", digit, others, f"the digits of {n}")
    at = body.index("loop")
    end = len(body) - 1
    loop = [f"while {n} > 0:", f"    {digit} = {n} % 10", *body[at + 1 : end], "    " + _update(rng, n, "//", "10")]
    body = [*body[:at], *loop, body[end]]
    return Function(_used([n, *others], body), body, f"return {intent}", [name, "digits"])


def _text(rng: random.Random) -> Function:
    """Compute a text, a number or a list from a text."""
    text, letter, result = rng.choice(TEXTS), rng.choice(["letter", "c", "char"]), rng.choice(["result", "found"])
    text = text if text != letter else "text"
    others = rng.choice([[], ["target"], ["other"], ["letter"] if letter != "letter" else ["mark"]])
    holds = _letters(rng, letter, others) if rng.random() < 0.7 else None
    value = rng.choice([
        Part(letter, ""), Part(letter, ""), Part(f"{letter}.upper()", "in upper case", "upper"),
        Part(f"{letter} + {letter}", "twice", "double"), Part(f"{letter} * 3", "three times", "triple"),
        *(Part(f"{letter} + {o}", f"followed by {o}", "join") for o in others),
    ])  # fmt: skip
    kind = rng.random()
    of = f"the letters of {text}" + (f" that are {holds.words}" if holds else "")
    if kind < 0.25:
        holds = holds or _letters(rng, letter, others)
        first, step, intent = "0", _update(rng, result, "+", "1"), f"how many letters of {text} are {holds.words}"
    elif kind < 0.4:
        first, step, intent = "[]", f"{result}.append({value.code})", f"a list of {of}, {value.words}"
    elif kind < 0.55:
        first, step, intent = "''", f"{result} = {value.code} + {result}", f"{of}, {value.words} and last first"
    else:
        first, step, intent = "''", _update(rng, result, "+", value.code), f"{of}, {value.words}"
    inner = _block(f"if {holds.code}:", step) if holds else [step]
    if holds and first == "''" and rng.random() < 0.3:
        inner += _block("else:", _update(rng, result, "+", rng.choice([letter, "'-'", "' '"])))
        intent += ", the others as they are or as a mark"
    body = [f"{result} = {first}", *_block(f"for {letter} in {text}:", *inner), f"return {result}"]
    intent = intent.rstrip(", ").replace(",  and", ",")
    names = ["count" if kind < 0.25 else "", holds.name if holds else value.name, "letters"]
    return Function(_used([text, *others], body), body, f"return {intent}", names)
