"""Which values a bundle's manifest may hold: it comes from a disk, so nothing is taken on trust."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any


def plain(name: str) -> bool:
    """Whether a name stays inside the folder, on every system."""
    path = PurePosixPath(name)
    return (
        bool(re.fullmatch(r"[\w.+/ -]+", name))
        and path.as_posix() == name
        and not (path.is_absolute() or ".." in path.parts or name == "bundle.json")
    )


def _ints(value: Any, count: int, low: int, high: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(v) is int and low <= v <= high for v in value)
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v for v in value)


RIGHT: dict[str, Callable[[Any], bool]] = {
    # A server puts the name into its addresses.
    "name": lambda v: isinstance(v, str) and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", v)),
    "classes": lambda v: _texts(v) and 0 < len(set(v)) == len(v) <= 255,
    "palette": lambda v: isinstance(v, list) and all(_ints(colour, 3, 0, 255) for colour in v),
    "size": lambda v: v is None or _ints(v, 2, 1, 1 << 16),
    "min_size": lambda v: _ints(v, 2, 1, 1 << 16),
    "precision": lambda v: isinstance(v, str),
    "opset": lambda v: type(v) is int,
    "provenance": lambda v: isinstance(v, dict),
    "scores": lambda v: isinstance(v, dict),
    "checks": lambda v: (
        isinstance(v, dict)
        and isinstance(v.get("min_agreement"), int | float)
        and 0 <= v["min_agreement"] <= 1
    ),
    "files": lambda v: isinstance(v, dict) and _texts([*v, *v.values()]),
}
