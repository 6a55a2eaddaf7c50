"""A watch over what was read of a network: layers, methods and arrays that were replaced since."""

from collections.abc import Iterable, Mapping
from typing import Any

try:
    from ..kernels.chain.cy import Watch
except ImportError:  # a build without the compiled kernels
    _NOTHING = object()

    class Watch:  # type: ignore[no-redef]
        """As the compiled one, for programs that copy no arrays."""

        def __init__(
            self,
            bindings: Iterable[tuple[dict[str, Any], str]],
            copied: Iterable[Any] = (),
            in_place: Iterable[Any] = (),
            holders: Iterable[Any] = (),
        ) -> None:
            self._bindings = [(where, name, where.get(name, _NOTHING)) for where, name in bindings]
            self._holders = [(holder, _items(holder)) for holder in holders]

        def unchanged(self) -> bool:
            """Whether nothing has changed."""
            return all(where.get(name, _NOTHING) is value for where, name, value in self._bindings) and all(
                list(map(id, _items(holder))) == list(map(id, items)) for holder, items in self._holders
            )

    def _items(holder: Any) -> list[Any]:
        return [*(holder.values() if isinstance(holder, Mapping) else holder)]


__all__ = ["Watch"]
