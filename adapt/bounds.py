"""Numbers of a config within their bounds, or one sentence that names the option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from roadshift import UserError


def at_least(least: int, config: object, *names: str) -> None:
    """UserError unless each of those numbers is `least` or more; NaN is not, None counts as it."""
    _each(lambda value: value >= least, f"wanted {least} or more", config, names)


def above_zero(config: object, *names: str) -> None:
    """UserError unless each of those numbers is above 0; NaN is not."""
    _each(lambda value: value > 0, "wanted more than 0", config, names)


def shares(config: object, *names: str) -> None:
    """UserError unless each of those numbers is a share, 0..1."""
    _each(lambda value: 0 <= value <= 1, "wanted 0..1", config, names)


def factors(config: object, name: str) -> None:
    """UserError unless those are numbers above 0, one at least."""
    values: Sequence[Any] = getattr(config, name)
    if not values or not all(value > 0 for value in values):
        raise UserError(f"{_option(name)} {tuple(values)}: wanted factors above 0")


def _each(holds: Callable[[Any], bool], wanted: str, config: object, names: Sequence[str]) -> None:
    for name in names:
        value: Any = getattr(config, name)
        if value is not None and not holds(value):
            raise UserError(f"{_option(name)} is {value}; {wanted}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
