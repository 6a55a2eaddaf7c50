"""What all optimisers share: which parameters a step takes, at which rates, and the state that is kept for each."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .._check.arguments import integer, real
from .._check.remembered import dense_lists, paired
from .._device import is_device, to_device, to_host, zeros_like
from ._rates import Rates, rates_of, valid_rates

Array: TypeAlias = npt.NDArray[Any]
Params: TypeAlias = Mapping[str, Any]

_NUMBER = (int, float, np.integer, np.floating)


class Taken(NamedTuple):
    """The parameters that a step changes, each once, with their gradients; `numbers` are those that were no arrays."""

    keys: list[str]
    arrays: list[Any]
    grads: list[Any]
    numbers: dict[str, Any]


class Optimizer:
    """The part they share: dicts of state, and a compiled step over the lists of their arrays.

    A subclass names the step, its dicts of state, and the attribute behind each of the step's keywords.

    Attributes
    ----------
    lr : float, or dict of float
        May be set at any time. A dict gives rates by prefix: "layer1" is for "layer1.0.conv1.W" and everything else
        under "layer1", the longest prefix counts, "*" is for all parameters without one.
    weight_decay : float
    """

    _op: Callable[..., None]
    _numbers: ClassVar[dict[str, str]] = {}  # the step's keywords, and the attributes that hold their values
    _counts = False  # whether the step depends on how many a parameter has had
    _states: tuple[str, ...] = ()

    def __init__(self, lr: Rates, weight_decay: float) -> None:
        self.lr = lr
        self.weight_decay = real("weight_decay", weight_decay, 0)
        self.iter = 0
        self._met: set[str] = set()  # the prefixes that were a parameter's
        self._marks: dict[str, float] = {}  # by parameter: if `_counts`, how many steps it was not part of
        for name in self._states:
            setattr(self, name, None)

    def __repr__(self) -> str:
        numbers = {"lr": self.lr, **{name: getattr(self, name) for name in self._numbers.values()}}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in numbers.items())})"

    @property
    def lr(self) -> Any:
        return self._lr

    @lr.setter
    def lr(self, value: Rates) -> None:
        self._lr = valid_rates(value)

    def update(self, params: Params, grads: Params) -> None:
        """One step.

        Every parameter has a state of its own, from its first step on. One that comes later begins like a new one; that
        of one that is left out stays as it is.

        Parameters
        ----------
        params : dict of ndarray
            Changed in place. Entries that are numbers are replaced by new ones. An array that stands under several
            names changes once, by the sum of their gradients (once the same gradient, if they are one array too).
        grads : dict of ndarray
            The gradients under the keys of `params`. A parameter without one, or with None, as a frozen one, stays as
            it is.

        Raises
        ------
        KeyError, ValueError, TypeError
            When no gradient is a parameter's, or one does not fit, a parameter cannot be written to, or `lr` has no
            rate for it.
            Nothing is changed then.
        """
        taken = self._taken(params, grads)
        rates = self._rates(params, taken.keys)
        states = self._checked_states(taken)
        self.iter += 1
        if self._counts:
            self._count(taken.keys)
        lists = [taken.arrays, taken.grads, *states]
        for places, rate in self._groups(taken.keys, rates):
            if places is None:
                self._step(taken.keys, lists, rate)
            else:
                self._step([taken.keys[i] for i in places], [[a[i] for i in places] for a in lists], rate)
        for key, was in taken.numbers.items():
            value = taken.arrays[taken.keys.index(key)]
            params[key] = type(was)(value) if isinstance(was, np.floating) else float(value)  # type: ignore[index]

    def forget(self, *prefixes: str) -> None:
        """Drop the state of all parameters, or of those under some prefixes: they begin anew.

        A parameter that was replaced by one of another shape needs it.
        """
        for name in self._states:
            state = getattr(self, name)
            if not prefixes:
                setattr(self, name, None)
            elif state is not None:
                for key in [key for key in state if _under(key, prefixes)]:
                    del state[key]
        self._marks = {key: mark for key, mark in self._marks.items() if prefixes and not _under(key, prefixes)}
        self.iter = self.iter if prefixes else 0

    # --- a step that is captured on a device: one rate, one count -----------------------------------------------------

    def advance(self) -> None:
        """Count a step that was captured (`apply`) and is about to be replayed.

        Raises
        ------
        RuntimeError
            When parameters differ in their rates or in the number of their steps: such a step cannot be replayed.
        """
        self._need_one_group()
        self.iter += 1

    def apply(self, params: Params, grads: Params) -> None:
        """The update of the step that is counted already, for a capture: `hyper` gives the numbers of each replay."""
        self._need_one_group()
        taken = self._taken(params, grads)
        states = self._checked_states(taken)
        self._op(taken.arrays, taken.grads, *states, **self.hyper())

    def _need_one_group(self) -> None:
        if isinstance(self.lr, Mapping) or (self._counts and self._marks):
            raise RuntimeError("the step cannot be captured: its parameters differ in their rates or counts of steps")

    def states(self) -> list[dict[str, Array]]:
        """The dicts of state; none before the first update."""
        return [state for state in (getattr(self, name) for name in self._states) if state is not None]

    def hyper(self, rate: float | None = None, missed: float = 0) -> dict[str, float]:
        """The numbers of the step that was counted last, under the step's keywords.

        Parameters
        ----------
        rate : float, optional
            The learning rate; by default `lr`.
        missed : int
            How many of the steps counted were not a step of these parameters.
        """
        numbers = {keyword: getattr(self, name) for keyword, name in self._numbers.items()}
        return {"lr": self.lr if rate is None else rate, "weight_decay": self.weight_decay, **numbers}

    # --- the parts of a step ------------------------------------------------------------------------------------------

    def _step(self, keys: list[str], lists: list[list[Any]], rate: float) -> None:
        """Change the parameters of one rate and one count."""
        missed = self._marks.get(keys[0], 0) if self._counts and self._marks and keys else 0
        self._op(*lists, **self.hyper(rate, missed))

    def _taken(self, params: Params, grads: Params) -> Taken:
        usual = paired(params, grads)
        if usual is not None:
            keys, arrays, slopes = usual
            return Taken(keys, arrays, slopes, {})
        taken = Taken([], [], [], {})
        places: dict[int, int] = {}
        if grads and params and not any(key in params for key in grads):
            raise KeyError(f"grads: expected gradients of {list(params)[:5]}, got those of {list(grads)[:5]}")
        for key, p in params.items():
            g = grads.get(key)
            if g is None:
                continue
            if isinstance(p, _NUMBER) and not isinstance(p, bool):
                p, g = self._number(params, key, p, g)
                taken.numbers[key] = params[key]
            elif id(p) in places:
                self._add(taken, places[id(p)], key, g)
                continue
            places[id(p)] = len(taken.keys)
            taken.keys.append(key)
            taken.arrays.append(p)
            taken.grads.append(g)
        return taken

    @staticmethod
    def _number(params: Params, key: str, p: Any, g: Any) -> tuple[Array, Array]:
        """A parameter that is a number, and its gradient, as arrays."""
        if not isinstance(params, MutableMapping):
            raise TypeError(f"params: expected a dict to replace the number {key!r} in, got {type(params).__name__}")
        if np.size(g) != 1:
            raise ValueError(f"grads[{key!r}]: expected a number, as the parameter is one, got shape {np.shape(g)}")
        dtype = p.dtype if isinstance(p, np.floating) and p.dtype.itemsize <= 8 else np.float64
        return np.array(p, dtype), np.array(g, dtype).reshape(())

    @staticmethod
    def _add(taken: Taken, place: int, key: str, g: Any) -> None:
        """Another gradient of an array that stands under several names."""
        sofar = taken.grads[place]
        if g is not sofar:
            if np.shape(g) != np.shape(sofar):
                raise ValueError(
                    f"grads[{key!r}]: expected shape {np.shape(sofar)}, that of the same array's other gradient, "
                    f"got {np.shape(g)}"
                )
            taken.grads[place] = sofar + g

    def _rates(self, params: Params, keys: list[str]) -> list[float] | None:
        """The rate of each parameter; None where all have one."""
        return rates_of(self.lr, params, keys, self._met) if isinstance(self.lr, dict) else None

    def _groups(self, keys: list[str], rates: list[float] | None) -> Iterable[tuple[list[int] | None, float]]:
        """The places of parameters that go together, and their rate; None for all places."""
        counted = self._counts and bool(self._marks)
        if rates is None and not counted:
            return [(None, self.lr)]
        groups: dict[tuple[float, float], list[int]] = {}
        for i, key in enumerate(keys):
            rate = self.lr if rates is None else rates[i]
            groups.setdefault((rate, self._marks.get(key, 0) if counted else 0), []).append(i)
        return [(places, rate) for (rate, _), places in groups.items()]

    def _checked_states(self, taken: Taken) -> list[list[Any]]:
        """The state of each parameter, once everything is known to fit; new state is kept from then on."""
        kept = self.states()
        if len(kept) == len(self._states):
            states = [list(map(state.get, taken.keys)) for state in kept]
            if dense_lists([taken.arrays, taken.grads, *states]) is not None:
                return states
        states = self._states_of(taken)
        self._check(taken, states)
        self._keep(taken.keys, states)
        return states

    def _states_of(self, taken: Taken) -> list[list[Any]]:
        """The state of each parameter, new where there is none, and where the parameter is."""
        lists = []
        for name in self._states:
            kept = getattr(self, name) or {}
            arrays = []
            for key, p in zip(taken.keys, taken.arrays, strict=True):
                state = kept.get(key)
                if state is None:
                    state = zeros_like(p) if hasattr(p, "dtype") else None  # what is no array is refused by `_check`
                elif is_device(p) != is_device(state):
                    state = to_device(state) if is_device(p) else to_host(state)
                arrays.append(state)
            lists.append(arrays)
        return lists

    def _keep(self, keys: list[str], states: list[list[Any]]) -> None:
        """Remember the arrays of state that are new."""
        if self._counts and self.iter:
            self._marks.update(dict.fromkeys(set(keys).difference(self._known()), self.iter))
        for name, arrays in zip(self._states, states, strict=True):
            if getattr(self, name) is None:
                setattr(self, name, {})
            getattr(self, name).update(zip(keys, arrays, strict=True))

    def _known(self) -> set[str]:
        return set().union(*self.states())

    def _count(self, keys: list[str]) -> None:
        """Note which of the known parameters are not part of this step."""
        absent = self._known().difference(keys) if len(keys) < len(self.states()[0]) else ()
        for key in absent:
            self._marks[key] = self._marks.get(key, 0) + 1

    def _check(self, taken: Taken, states: list[list[Any]]) -> None:
        """Refuse what the step would refuse half-way, or without the parameter's name."""
        for i, (key, p, g) in enumerate(zip(taken.keys, taken.arrays, taken.grads, strict=True)):
            for name, a in (("params", p), ("grads", g)):
                if not ((isinstance(a, np.ndarray) or is_device(a)) and a.dtype.kind == "f" and a.dtype.itemsize <= 8):
                    kind = getattr(a, "dtype", type(a).__name__)
                    raise TypeError(f"{name}[{key!r}]: expected a float array, got {kind}")
            if g.shape != p.shape:
                raise ValueError(f"grads[{key!r}]: expected shape {p.shape}, that of the parameter, got {g.shape}")
            if isinstance(p, np.ndarray) and not p.flags.writeable:
                raise ValueError(f"params[{key!r}]: expected a writeable array (it is updated in place)")
            if is_device(p) != is_device(g):
                raise TypeError(f"grads[{key!r}]: expected it where the parameter is, on "
                                f"{'the device' if is_device(p) else 'the CPU'}")  # fmt: skip
            for state in states:
                if state[i].shape != p.shape:
                    raise ValueError(
                        f"params[{key!r}]: has shape {p.shape}, the state that is kept for it {state[i].shape}; "
                        f"optimizer.forget({key!r}) lets it begin anew"
                    )

    # --- saving -------------------------------------------------------------------------------------------------------

    def _kind(self) -> str:
        """Whose state it is."""
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as copies: rates, other numbers, counts and state.

        Returns
        -------
        dict
            Of numbers, strings and dicts of ndarrays, for `load_state_dict`.
        """
        numbers = {name: getattr(self, name) for name in ("weight_decay", *self._numbers.values())}
        return {
            "optimizer": self._kind(),
            "lr": dict(self.lr) if isinstance(self.lr, dict) else self.lr,
            "numbers": numbers,
            "iter": self.iter,
            "marks": dict(self._marks),
            "state": {
                name: {key: np.array(to_host(a)) for key, a in (getattr(self, name) or {}).items()}
                for name in self._states
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an optimiser of the same class gave.

        Raises
        ------
        ValueError, TypeError
            When it is another's, or not whole. Nothing is changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected a dict from state_dict(), got {type(state).__name__}")
        wanted = {"optimizer", "lr", "numbers", "iter", "marks", "state"}
        if state.keys() != wanted:
            raise ValueError(f"state: expected the keys {sorted(wanted)}, got {sorted(map(str, state))}")
        if state["optimizer"] != self._kind():
            raise ValueError(f"state: expected that of {self._kind()}, got that of {state['optimizer']}")
        names = {"weight_decay", *self._numbers.values()}
        if not isinstance(state["numbers"], Mapping) or state["numbers"].keys() != names:
            raise ValueError(f"state['numbers']: expected {sorted(names)}, got {state['numbers']!r}")
        rates = valid_rates(state["lr"])
        numbers = {name: real(f"state['numbers'][{name!r}]", a, 0) for name, a in state["numbers"].items()}
        count = integer("state['iter']", state["iter"], 0)
        marks = {str(key): real(f"state['marks'][{key!r}]", value) for key, value in dict(state["marks"]).items()}
        arrays = self._valid_arrays(state["state"])
        self.lr, self.iter, self._marks = rates, count, marks
        for name, number in numbers.items():
            setattr(self, name, number)
        for name, group in arrays.items():
            setattr(self, name, group or None)

    def _valid_arrays(self, given: Any) -> dict[str, dict[str, Array]]:
        if not isinstance(given, Mapping) or given.keys() != set(self._states):
            kinds = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
            raise ValueError(f"state['state']: expected {sorted(self._states)}, got {kinds}")
        arrays: dict[str, dict[str, Array]] = {}
        for name in self._states:
            arrays[name] = {str(key): np.array(a) for key, a in given[name].items()}
            for key, a in arrays[name].items():
                if a.dtype.kind != "f":
                    raise TypeError(f"state['state'][{name!r}][{key!r}]: expected floats, got {a.dtype}")
        first = arrays[self._states[0]] if self._states else {}
        for name, group in arrays.items():
            if {key: a.shape for key, a in group.items()} != {key: a.shape for key, a in first.items()}:
                raise ValueError(f"state['state']: {name!r} has other names or shapes than {self._states[0]!r}")
        return arrays


def _under(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
