"""Classes of a program.

A class stays the program's own object, with its constructor, its attributes and its place in pickles: only some of
its methods compute with fastconv. So subclasses, `isinstance`, other defaults, and names that others imported before
need no care; and whatever fastconv's method does not take, the program's own method does.

What such a method keeps for the next one stands in vars(instance)["_fastconv"] (see `keep`). Attributes that the
program's method would have set, and that fastconv's does not know or that cost as much as what was saved (the matrix of
windows of a convolution), are computed when somebody asks for them.
"""

import dis
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np

from . import _float32
from ._candidates import LEFT_TO_OWN, Verdict, compare_parameters
from ._proof import Difference, NotTaken, Trial, first_difference
from ._purity import impure

STATE = "_fastconv"
INPUT = "_fastconv_input"

# What a class must not define: attributes would not be what `vars` says, or pickles not what `__getstate__` says.
_UNUSUAL = ("__slots__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__")
_PICKLING = ("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__",
             "__copy__", "__deepcopy__")  # fmt: skip


@dataclass(frozen=True)
class Substitute:
    """Methods for a class of a program.

    Attributes
    ----------
    methods : dict of callables
        By the method's name: fastconv's method. It raises `NotTaken` for what the program's own method shall do, and
        changes nothing before it is sure.
    lazy : dict of callables
        By name: attributes that the program's own methods set and fastconv's do not; lazy[name](self, state) computes
        one when it is asked for, `state` being what `keep` kept.
    attributes : set of str
        The names that fastconv's forward sets.
    trial : Trial, optional
        In place of that of the class.
    replayed : bool
        Whether the program's own forward may be called again for attributes that fastconv's does not know: it draws no
        random numbers and keeps no statistics.
    least : dict of int
        By the method's name: the size of its first argument from which on fastconv's is faster. Below, the program's
        own method runs.
    """

    methods: Mapping[str, Callable[..., Any]]
    lazy: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()
    trial: Trial | None = None
    replayed: bool = False
    least: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Class:
    """What fastconv has for a class.

    Attributes
    ----------
    parameters : str
        Of the constructor, without self. The program's own constructor runs: other defaults are reported as adopted.
    variants : sequence of Substitute
        The first one that is equal counts.
    trial : Trial
        Instances of the class are compared by their attributes where a step has them as `Attributes(instance)`.
    """

    parameters: str
    variants: Sequence[Substitute]
    trial: Trial

    def prove(self, theirs: Any) -> Verdict:
        why = self._unusual(theirs)
        if why:
            return Verdict("left", why)
        why, adopted = compare_parameters(theirs, self.parameters)
        why = why or self._impure(theirs)
        if why:
            return Verdict("left", why)
        differences = []
        for i, variant in enumerate(self.variants):
            taken: set[str] = set()
            probe = _probe(theirs, variant, taken)
            difference = first_difference(variant.trial or self.trial, theirs, probe)
            idle = [name for name in variant.methods if name not in taken]
            if not difference and idle:
                difference = Difference(f"fastconv's {idle[0]} takes none of its calls", 0)
            if not difference:
                return Verdict("adopted" if adopted else "replaced", adopted, i)
            differences.append(difference)
        return Verdict("left", max(differences, key=lambda d: d.steps).why)

    def _impure(self, theirs: type) -> str:
        return impure(theirs)

    def _unusual(self, theirs: Any) -> str:
        if type(theirs) is not type:
            return "it is no plain class"
        own = vars(theirs)
        missing = [name for name in self.variants[0].methods if not isinstance(own.get(name), FunctionType)]
        if missing:
            return f"it has no method {missing[0]} of its own"
        for base in theirs.__mro__[:-1]:
            for name in (*_UNUSUAL, *_PICKLING):
                if name in vars(base):
                    return f"it defines {name}"
        return ""

    def put(self, namespace: dict[str, Any], name: str, variant: int) -> Callable[[], None]:
        theirs, chosen = namespace[name], self.variants[variant]
        own = {name: vars(theirs)[name] for name in chosen.methods}
        does = _subclasses_that_do(theirs, own.values(), chosen)
        members = _members(theirs, own, chosen, does, lambda method: chosen.least.get(method, 0), None)
        for key, value in members.items():
            setattr(theirs, key, value)

        def undo() -> None:
            # The lazy attributes stay: an instance that is alive may need them for its backward.
            for method, before in own.items():
                setattr(theirs, method, before)

        return undo


def _probe(theirs: type, variant: Substitute, taken: set[str]) -> type:
    """A class like the program's, with fastconv's methods; `taken` gets the names of those that did something."""
    own = {name: vars(theirs)[name] for name in variant.methods}
    return type(theirs.__name__, (theirs,), _members(theirs, own, variant, lambda kind: True, lambda method: 0, taken))


def _members(
    theirs: type,
    own: Mapping[str, Any],
    variant: Substitute,
    does: Callable[[type], bool],
    least: Callable[[str], int],
    taken: set[str] | None,
) -> dict[str, Any]:
    """What a program's class gets: methods, attributes that are computed when they are asked for, its pickling."""
    stored = _stored_by(theirs, "__init__")
    lazy = {name: compute for name, compute in variant.lazy.items() if name in stored}
    again: frozenset[str] = frozenset()
    if variant.replayed:
        again = _stored_by(theirs, "__init__", "backward") - variant.attributes - lazy.keys()
        lazy |= {name: functools.partial(_replay, own["forward"], name) for name in again}
    methods = {
        name: _method(
            own[name],
            ours,
            lazy,
            does,
            least(name),
            again if name == "forward" else frozenset(),
            None if taken is None else functools.partial(taken.add, name),
        )
        for name, ours in variant.methods.items()
    }

    def state(self: Any) -> dict[str, Any] | None:
        settle(self, lazy)
        return vars(self) or None

    attributes = {name: _Lazy(name, compute) for name, compute in lazy.items()}
    return {**methods, **attributes, "__getstate__": state, "_fastconv_stores": stored}


def _method(
    own: Any,
    ours: Any,
    lazy: Mapping[str, Any],
    does: Callable[[type], bool],
    least: int,
    again: frozenset[str],
    taken: Callable[[], None] | None,
) -> Any:
    """fastconv's method with the program's own behind it."""
    # A trial has to tell which attribute a class lacks; in a program its own method says so, or does not need it.
    left = LEFT_TO_OWN if taken else (*LEFT_TO_OWN, AttributeError)

    @functools.wraps(own)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if does(type(self)) and (not least or _is_worth(args, least)):
            try:
                result = ours(self, *args, **kwargs)
            except left:
                pass
            else:
                if again:
                    attributes = vars(self)
                    for name in again:
                        attributes.pop(name, None)
                    attributes[INPUT] = [a.copy() if isinstance(a, np.ndarray) else a for a in args], kwargs
                if taken:
                    taken()
                return result
        settle(self, lazy)
        return own(self, *args, **kwargs)

    return method


def _is_worth(args: tuple[Any, ...], least: int) -> bool:
    """Whether the first argument is large enough, or small ones have to be cast too."""
    return _float32.on or bool(args and getattr(args[0], "size", 0) >= least)


def _stored_by(kind: type, *without: str) -> frozenset[str]:
    """The names of attributes that the methods of a class set."""
    functions = (f for base in kind.__mro__[:-1] for name, f in vars(base).items() if name not in without)
    return frozenset(name for f in functions if isinstance(f, FunctionType) for name in _stored(f.__code__))


def _stored(code: Any) -> set[str]:
    """The names of attributes that a function sets."""
    inner = (c for c in code.co_consts if inspect.iscode(c))
    names = {op.argval for op in dis.get_instructions(code) if op.opname == "STORE_ATTR"}
    return names.union(*map(_stored, inner))


def _replay(forward: Any, name: str, self: Any, state: Any) -> Any:
    """An attribute as the program's own forward sets it, found on a copy of the instance."""
    copy = object.__new__(type(self))
    own = vars(copy)
    own.update(vars(self))
    args, kwargs = own.pop(INPUT)
    del own[STATE]
    forward(copy, *args, **kwargs)
    return own[name]


def settle(self: Any, lazy: Mapping[str, Any]) -> None:
    """Make an instance what the program's own methods would have left."""
    attributes = vars(self)
    if STATE in attributes:
        for name in lazy:
            getattr(self, name, None)
        del attributes[STATE]
        attributes.pop(INPUT, None)


def _subclasses_that_do(theirs: type, own: Any, variant: Substitute) -> Callable[[type], bool]:
    """A test of an instance's class: nothing that the program's own methods ask of `self` is overridden in it."""
    asked = {name for function in own for name in _asked(function.__code__)}
    ask = (asked | {*_UNUSUAL, *variant.lazy}) - {"__init__"}
    known = {theirs: True}

    def does(kind: type) -> bool:
        try:
            return known[kind]
        except KeyError:
            pass
        between = kind.__mro__[: kind.__mro__.index(theirs)]
        known[kind] = not any(ask & vars(k).keys() - variant.methods.keys() for k in between)
        return known[kind]

    return does


def _asked(code: Any) -> set[str]:
    inner = (c for c in code.co_consts if inspect.iscode(c))
    return set(code.co_names).union(*map(_asked, inner))


class _Lazy:
    """An attribute of an instance that is computed from its state when it was not set since."""

    def __init__(self, name: str, compute: Callable[[Any, Any], Any]) -> None:
        self.name, self.compute = name, compute

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        attributes = vars(instance)
        if self.name not in attributes:
            if STATE not in attributes:
                raise AttributeError(
                    f"{type(instance).__name__!r} object has no attribute {self.name!r}", name=self.name, obj=instance
                )
            attributes[self.name] = self.compute(instance, attributes[STATE][0])
        return attributes[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = value

    def __delete__(self, instance: Any) -> None:
        self.__get__(instance)
        del vars(instance)[self.name]


def keep(self: Any, state: Any, attributes: Mapping[str, Any], *lazy: str) -> None:
    """Keep what the next method needs.

    Parameters
    ----------
    self
        An instance of a program's class.
    state
    attributes : dict
        What the book's method sets. Those that the program's own methods set too are set.
    lazy : str
        Attributes that are computed from the state from now on.
    """
    own, stored = vars(self), type(self)._fastconv_stores
    seen = {name: value for name, value in attributes.items() if name in stored}
    for name in lazy:
        own.pop(name, None)
    own.update(seen)
    own[STATE] = state, seen


def kept(self: Any, *lazy: str) -> Any:
    """What `keep` kept last.

    Raises
    ------
    NotTaken
        If nothing was kept, the program's own method ran since, one of the attributes is another one since, or somebody
        asked for one of the lazy ones and may have changed it.
    """
    own = vars(self)
    if STATE not in own or not own.keys().isdisjoint(lazy):
        raise NotTaken("nothing was kept")
    state, seen = own[STATE]
    for name, value in seen.items():
        if own.get(name) is not value:
            raise NotTaken(f"its attribute {name} was changed")
    return state
