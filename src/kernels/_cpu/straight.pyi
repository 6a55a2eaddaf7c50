from collections.abc import Callable
from typing import Any, TypeVar

Road = TypeVar("Road", bound=Callable[..., Any])

def straight(road: Road, check: Callable[..., Any], choose: Callable[[Any], Callable[..., Any]]) -> Road: ...
