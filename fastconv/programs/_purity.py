"""Whether a program's own code may be run for a trial: it must compute from its arguments and change nothing else.

The code is read, not run: every global name that it and the functions it calls load must be NumPy, math, a harmless
builtin, a number, or a function or class of which the same is true.
"""

import builtins
import dis
import inspect
import math
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

BUILTINS = frozenset(
    [
        "abs",
        "all",
        "any",
        "bool",
        "dict",
        "enumerate",
        "float",
        "getattr",
        "hasattr",
        "int",
        "isinstance",
        "issubclass",
        "len",
        "list",
        "map",
        "max",
        "min",
        "pow",
        "range",
        "reversed",
        "round",
        "set",
        "setattr",
        "slice",
        "sorted",
        "staticmethod",
        "str",
        "sum",
        "super",
        "tuple",
        "type",
        "zip",
        "object",
        "property",
    ]
)
_MODULES = (np, math)
# What changes something outside of the arguments, by whatever name it is reached.
_CHANGES = frozenset(
    [
        "seed",
        "set_state",
        "save",
        "savez",
        "savez_compressed",
        "savetxt",
        "tofile",
        "dump",
        "dumps",
        "seterr",
        "set_printoptions",
        "seterrcall",
        "setbufsize",
        "system",
        "popen",
        "exec",
        "eval",
        "open",
        "write",
        "input",
        "print",
        "exit",
    ]
)
CONSTANTS = (bool, int, float, complex, str, bytes, tuple, type(None), np.generic, np.dtype)


def impure(theirs: Any, known: frozenset[str] = frozenset()) -> str:
    """Why the code of a function or class must not be run for a trial; "" if it may.

    known: global names that may be used, whatever they are.
    """
    return _impure(theirs, set(), known)


def _impure(theirs: Any, seen: set[int], known: frozenset[str]) -> str:
    if id(theirs) in seen:
        return ""
    seen.add(id(theirs))
    return next((why for function in _functions(theirs) if (why := _function_impure(function, seen, known))), "")


def _functions(theirs: Any) -> Iterator[FunctionType]:
    if isinstance(theirs, FunctionType):
        yield inspect.unwrap(theirs)
    elif isinstance(theirs, type):
        for base in theirs.__mro__[:-1]:
            for member in vars(base).values():
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__
                if isinstance(member, property):
                    yield from (f for f in (member.fget, member.fset) if isinstance(f, FunctionType))
                elif isinstance(member, FunctionType):
                    yield inspect.unwrap(member)


def _function_impure(function: FunctionType, seen: set[int], known: frozenset[str]) -> str:
    for code in _codes(function.__code__):
        before = None
        for op in dis.get_instructions(code):
            name = op.argval
            if op.opname in ("STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT_NAME"):
                return f"its code changes or imports {name!r}"
            if op.opname in ("STORE_ATTR", "DELETE_ATTR") and before is not None:
                return f"its code changes {before!r}, which others see"
            if op.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_NAME", "LOAD_GLOBAL") and name in _CHANGES:
                return f"its code calls {name!r}"
            if op.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                why = "" if name in known else _global_impure(name, function, seen, known)
                if why:
                    return why
            before = name if op.opname == "LOAD_GLOBAL" else None
    return ""


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _global_impure(name: str, function: FunctionType, seen: set[int], known: frozenset[str]) -> str:
    if name not in function.__globals__:
        # A name that nobody has defined raises NameError, and does nothing else.
        harmless = name in BUILTINS or isinstance(getattr(builtins, name, int), type)
        return "" if harmless else f"its code uses {name!r}"
    value = function.__globals__[name]
    if isinstance(value, ModuleType):
        return "" if value in _MODULES else f"its code uses the module {value.__name__!r}"
    if isinstance(value, (FunctionType, type)):
        if getattr(value, "__module__", "").partition(".")[0] in ("numpy", "math", "builtins", "fastconv"):
            return ""
        return _impure(value, seen, known)
    if isinstance(value, CONSTANTS) or getattr(value, "__module__", "") == "numpy" or isinstance(value, np.ufunc):
        return ""
    return f"its code uses the program's variable {name!r}"
