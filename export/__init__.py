"""A run in, a verified bundle out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.from_module import Options, bundle_from_module

__all__ = ["Options", "bundle_from_module"]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for; a vehicle reads bundles without it."""
    if name not in __all__:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    from export import from_module  # noqa: PLC0415

    return getattr(from_module, name)
