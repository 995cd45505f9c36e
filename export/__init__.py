"""A run in, a verified bundle out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.module import bundle_from_module

__all__ = ["bundle_from_module"]


def __getattr__(name: str) -> Any:
    """`export.bundle_from_module`, which needs torch; a vehicle reads bundles without it."""
    if name != "bundle_from_module":
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    from export.module import bundle_from_module  # noqa: PLC0415

    return bundle_from_module
