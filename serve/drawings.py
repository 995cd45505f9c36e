"""All of a bundle's graphs that draw."""

from __future__ import annotations

from export.bundle import Bundle
from serve import reconstructor, translator
from serve.drawing import Drawing


def drawings_of(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> list[Drawing]:
    """The reconstructor and the translator, where the bundle has them; raises like Graph."""
    found = [
        module.opened(bundle, provider=provider, threads=threads)
        for module in (reconstructor, translator)
    ]
    return [drawing for drawing in found if drawing is not None]
