"""Python functions that use rare syntax, and the calls of `kelp.syntax` for Python, for tests that read programs."""

from kelp.languages.registry import by_name
from kelp.syntax import functions as windows
from kelp.syntax import program
from kelp.syntax.functions import Function
from kelp.syntax.program import Program

PYTHON = by_name("python")


def parse(source: bytes) -> Program:
    return program.parse(source, PYTHON)


def parses(source: bytes) -> bool:
    return program.parses(source, PYTHON)


def functions(file: bytes) -> list[Function]:
    return windows.functions(file, PYTHON)


HARD = tuple(
    text.strip("\n").encode()
    for text in (
        # nested scopes
        """
def counter(start=0, *, step: int = 1):
    count = start
    def more(by=lambda x, y=2, *z: x):
        nonlocal count
        global last
        count += step
        last = count
        return by(count)
    class Holder:
        kind = "x"
        def get(self): return count
    return more, Holder
""",
        # words right before strings, of which only some are prefixes
        """
def grade(text, marks):
    if text not in'xyz'and marks is not"a"or'b'if text else'c':
        return f'{text}'if rb"x"in marks else"none"
    for mark in"abc":
        yield u'' if text is'r'else R"y"
""",
        # guards of cases that take everything without them
        """
def measure(x, y, rest):
    match x:
        case None if y: return *rest, *rest.values()
        case 0 | (_) if z: y = *rest, *rest.values()
        case (z as w) if z: return w
        case _ if (y := x): return y
        case z if x: return z
""",
        # match
        """
def command(words):
    match words:
        case []:
            return None
        case ["go", ("north" | "south") as way, *_] if way:
            return way
        case {"key": 1, **rest}:
            return rest
        case Point(x=0, y=-1) | None:
            pass
        case str(x) | bytes(x): return x
        case _:
            raise ValueError(words)
""",
        # walrus, comprehensions, conditional expressions
        """
def pick(rows, default=None):
    if (n := len(rows)) > 10 and not rows[0] or n == 3:
        rows = [(x, y) for x in rows if x if x > 1 for y in x if y]
    found = {k: v for k, v in rows} | {**default} if default else {}
    return sorted(x for x in rows) if n else {*rows, *found}
""",
        # async
        """
@decorate
@decorate.again(1, "two")
async def fetch(urls, /, *args: str, timeout: float = 1., **options) -> list[bytes]:
    async with open(urls) as a, lock:
        async for url in a:
            await url.get(*args, timeout=timeout, **options)
    return [await x async for x in urls if await x]
""",
        # semicolons, one-line compounds
        """
def short(a, b): a = b; b += 1; return a, b
""",
        """
def lines(x):
    if x: return 1; x = 2
    elif not x: pass
    else: x = 3
    while x: x -= 1; continue
    else: x = 0
    for i in x,: print(i); break
    with x: pass
    try: x()
    except* ValueError: pass
""",
        # continuations
        """
def long_one(first, \\
             second):
    total = first + \\
        second
    if first and \\
       second or \\
       total:
        return total \\
            , first
    assert first, \\
        "no"
    with open(first) as a, \\
         open(second) as b:
        return a if a \\
            else b
    return {'a': 1,
            'b': [ ],  # empty
            **first}
""",
        # comments in odd places
        """
def commented(a, # first
              b  # second
              ):  # ends
    # leading
    x = [  # open
        1,  # one

        # alone
        2  # two
    ]  # closed
    if a:  # why
        # inside
        pass  # done
    # between
    else:  # or
        y = 1
        # trailing
    call(  # none
    )
    z = [a for a in x  # each
         if a  # true
         if b]
    return x  # result
""",
        # empty lines with blanks, form feeds
        "def blank(x):\n    y = 1\n    \n  \n\n    z = 2\n\x0c\n    return y + z",
        # unicode
        """
def größe(naïve, π=3.14):
    s = 'déjà vu ☃'
    return naïve * π + größe(naïve=naïve)  # ünïcode → ☃
""",
        # strings
        '''
def strings(x):
    """Doc of
        several lines.
    """
    a = 'it''s' "two" f"{x!r:>{10}} {{}}" R'\\d'
    b = """
left
  in"""
    c = 'line \\
goes on'
    return a % (b, c), b"", '', f'{x["k"]}', ("par"
            "ts")
''',
        # star-args everywhere
        """
def stars(*, a, b=1):
    first, *rest = a
    (x, [y, *z]), w = rest
    print(*a, *b, sep="", **x, **y)
    return *a, *b
""",
        # exceptions
        """
def careful(x):
    try:
        y = x[0]
    except (KeyError, IndexError) as e:
        raise ValueError from e
    except Exception:
        return
    else:
        del x[0], y
    finally:
        assert x is not None and x not in y, "no"
""",
        # operators and numbers
        """
def numbers(x):
    x **= -1; x //= 0x_ff; x @= 1_000.5e-3j
    y = ~x ** -x if x<-1else+x
    return x<y<=3 != 4 is not None, 1 .real, 1..real, x[1:2, ::3, ...], x[:]
""",
        # annotations, globals, imports, deletes
        """
def odds(x: "int | None" = None, *y: int) -> dict[str, tuple[int, ...]]:
    import os, sys as system
    from os import (path as p,
                    sep)
    z: int
    w: list[int] = []
    yield (lambda: (yield))
    return {}
""",
        # nothing much
        "def empty(): ...",
        "def empty():\n\n\n    pass",
        "def noreturn(x):\n\treturn x",
        "class Thing:\n    def f(self): pass\n    x = 1",
    )
)
