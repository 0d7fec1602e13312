"""Names that Python source reads and names that it defines, from the compiler's symbol tables."""

import builtins
import re
import symtable
import warnings

# Builtins, and names that every module has.
BUILTIN = frozenset(dir(builtins)) | {"__file__", "__path__", "__builtins__", "__annotations__", "__class__"}
GLOBAL = re.compile(rb"\bglobal\b")
STAR_IMPORT = re.compile(rb"\bimport[\s\\(]*\*")


def read_names(source: bytes) -> frozenset[str]:
    """Names that a source reads as globals, builtins and its own definitions included. Raises SyntaxError."""
    return frozenset(_names(source, reads=True)[0])


def free_names(source: bytes) -> frozenset[str]:
    """Names that a program reads and neither it nor Python defines. Raises SyntaxError."""
    read, bound = _names(source, reads=True)
    return frozenset(read - BUILTIN - (bound or frozenset()))


def bound_names(source: bytes) -> frozenset[str] | None:
    """Names that a file defines for its functions, by `global` and in class bodies too. Raises SyntaxError.

    None where there may be others: with `from x import *`, `globals()` or `exec()`.
    """
    return _names(source, reads=False)[1]


def _names(source: bytes, *, reads: bool) -> tuple[set[str], frozenset[str] | None]:
    """(`read_names` if `reads`, `bound_names`) in one walk over the scopes."""
    read, bound, names = set[str](), set[str](), set[str]()
    in_functions = reads or GLOBAL.search(source) is not None
    tables = [_symbols(source)]
    while tables:
        table = tables.pop()
        children = table.get_children()
        namespaces = {child.get_name() for child in children}
        tables += children
        top, outer = table.get_type() == "module", table.get_type() != "function"
        symbols = vars(table)["_table"].symbols  # `get_symbols` compares each name with each child
        names.update(symbols)
        for name, flags in symbols.items() if outer or in_functions else ():
            s = symtable.Symbol(name, flags)
            if s.is_referenced() and (top or s.is_global()):
                read.add(name)
            if (outer or s.is_declared_global()) and (s.is_assigned() or s.is_imported() or name in namespaces):
                bound.add(name)
    unknown = STAR_IMPORT.search(source) or names & {"globals", "exec"}
    return read, None if unknown else frozenset(bound)


def _symbols(source: bytes) -> symtable.SymbolTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return symtable.symtable(source.decode("utf-8-sig", "replace"), "<program>", "exec")
