"""Learning rates: a number, or numbers by prefixes of the parameters' names."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from .._check.arguments import real

Rates: TypeAlias = float | Mapping[str, float]


def valid_rates(value: Any) -> Any:
    """A rate as it was given, or a dict of them copied.

    Raises
    ------
    TypeError, ValueError
        When it is neither a number from 0 on nor a dict of such numbers.
    """
    if isinstance(value, Mapping):
        if not value:
            raise ValueError("lr: expected at least one prefix, or '*', got an empty dict")
        for prefix, rate in value.items():
            if not isinstance(prefix, str) or not prefix or prefix.endswith("."):
                raise ValueError(f"lr: expected dotted prefixes of parameters' names such as 'layer1', got {prefix!r}")
            _valid_rate(f"lr[{prefix!r}]", rate)
        return dict(value)
    if not hasattr(value, "__float__"):
        raise TypeError(f"lr: expected a number, or a dict of numbers by prefix, got {value!r}")
    _valid_rate("lr", value)
    return value


def _valid_rate(name: str, value: Any) -> None:
    if math.isinf(real(name, value, 0)):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")


def rates_of(rates: dict[str, float], names: Iterable[str], keys: list[str], met: set[str]) -> list[float]:
    """The rate of each of `keys`: that of its longest prefix.

    Parameters
    ----------
    rates : dict
    names : iterable of str
        All parameters; a prefix that was never one of theirs is a mistake.
    keys : list of str
    met : set of str
        The prefixes that were somebody's before; those of now are added.

    Raises
    ------
    ValueError
        When a prefix is nobody's, or a parameter has none and there is no "*".
    """
    chosen = {key: _prefix(rates, key) for key in names}
    lost = [key for key in keys if chosen[key] is None]
    if lost:
        raise ValueError(f"lr: expected a rate for {lost[0]!r}: its prefix, or '*', got {list(rates)}")
    under = {prefix for prefix in rates for key in chosen if key == prefix or key.startswith(f"{prefix}.")}
    unmet = [prefix for prefix in rates if prefix != "*" and prefix not in under | met]
    if unmet:
        raise ValueError(f"lr: no parameter is under {unmet[0]!r}: they are {', '.join(list(chosen)[:8])}"
                         f"{', ...' if len(chosen) > 8 else ''}")  # fmt: skip
    met |= under
    for rate in rates.values():  # the dict is the user's to change
        _valid_rate("lr", rate)
    return [rates[chosen[key]] for key in keys]  # type: ignore[index]


def _prefix(rates: dict[str, float], key: str) -> str | None:
    """The longest prefix of a name that has a rate."""
    prefix = key
    while prefix not in rates:
        prefix, dot, _ = prefix.rpartition(".")
        if not dot:
            return "*" if "*" in rates else None
    return prefix
