"""Classes of a program.

A class stays the program's own object, with its constructor, its attributes and its place in pickles: only some of
its methods compute with fastconv. So subclasses, `isinstance`, other defaults, and names that others imported before
need no care; and whatever fastconv's method does not take, the program's own method does.

What such a method keeps for the next one stands in vars(instance)["_fastconv"]. Attributes that the program's method
would have set and that cost as much as what was saved (the matrix of windows of a convolution) are computed when
somebody asks for them.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from ._candidates import LEFT_TO_OWN, Verdict, compare_parameters
from ._proof import Difference, NotTaken, Trial, first_difference
from ._purity import impure

STATE = "_fastconv"

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
        one, `state` being vars(self)["_fastconv"], when it is asked for.
    trial : Trial, optional
        In place of that of the class.
    least : dict of int
        By the method's name: the size of its first argument from which on fastconv's is faster. Below, the program's
        own method runs.
    """

    methods: Mapping[str, Callable[..., Any]]
    lazy: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    trial: Trial | None = None
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
        why = why or impure(theirs)
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
        for method, ours in chosen.methods.items():
            setattr(theirs, method, _method(own[method], ours, chosen, does, chosen.least.get(method, 0)))
        added = _lazy_attributes(chosen)
        for attribute, value in added.items():
            setattr(theirs, attribute, value)

        def undo() -> None:
            # The lazy attributes stay: instances that are alive may have a state.
            for method, before in own.items():
                setattr(theirs, method, _own_method(before, chosen))

        return undo


def _probe(theirs: type, variant: Substitute, taken: set[str]) -> type:
    """A class like the program's, with fastconv's methods; `taken` gets the names of those that did something."""
    probe = type(theirs.__name__, (theirs,), {})
    own = vars(theirs)
    methods = {
        name: _method(own[name], ours, variant, lambda kind: True, 0, functools.partial(taken.add, name))
        for name, ours in variant.methods.items()
    }
    for name, value in {**methods, **_lazy_attributes(variant)}.items():
        setattr(probe, name, value)
    return probe


def _method(
    own: Any,
    ours: Any,
    variant: Substitute,
    does: Callable[[type], bool],
    least: int,
    taken: Callable[[], None] | None = None,
) -> Any:
    """fastconv's method with the program's own behind it."""

    @functools.wraps(own)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if does(type(self)) and (not least or (args and getattr(args[0], "size", 0) >= least)):
            try:
                result = ours(self, *args, **kwargs)
            except LEFT_TO_OWN:
                pass
            else:
                if taken is not None:
                    taken()
                return result
        settle(self, variant.lazy)
        return own(self, *args, **kwargs)

    return method


def _own_method(own: Any, variant: Substitute) -> Any:
    """The program's own method, for instances that may have been fastconv's before."""

    @functools.wraps(own)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        settle(self, variant.lazy)
        return own(self, *args, **kwargs)

    return method


def settle(self: Any, lazy: Mapping[str, Any]) -> None:
    """Make an instance what the program's own methods would have left."""
    attributes = vars(self)
    if STATE in attributes:
        for name in lazy:
            getattr(self, name, None)
        del attributes[STATE]


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


def _lazy_attributes(variant: Substitute) -> dict[str, Any]:
    """What is added to the class beside its methods."""
    lazy = variant.lazy

    def state(self: Any) -> dict[str, Any] | None:
        settle(self, lazy)
        return vars(self) or None

    return {name: _Lazy(name, compute) for name, compute in lazy.items()} | {"__getstate__": state}


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
            attributes[self.name] = self.compute(instance, attributes[STATE])
        return attributes[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = value

    def __delete__(self, instance: Any) -> None:
        self.__get__(instance)
        del vars(instance)[self.name]


def keep(self: Any, state: Any, *lazy: str) -> None:
    """Keep what the next method needs; the named attributes are computed from it from now on."""
    attributes = vars(self)
    for name in lazy:
        attributes.pop(name, None)
    attributes[STATE] = state


def kept(self: Any, *lazy: str) -> Any:
    """What `keep` kept last.

    Raises
    ------
    NotTaken
        If nothing was kept, the program's own method ran since, or somebody asked for one of the named attributes and
        may have changed it.
    """
    attributes = vars(self)
    if STATE not in attributes or not attributes.keys().isdisjoint(lazy):
        raise NotTaken("nothing was kept")
    return attributes[STATE]
