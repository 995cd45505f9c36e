"""Labels in, an image out: a bundle's reconstructor on one device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.bundle import RECONSTRUCTOR, Bundle
from serve.drawing import Drawing


class Reconstructor(Drawing):
    """A bundle's reconstructor; see Graph for the arguments and for what is raised."""

    file = RECONSTRUCTOR
    given = ("labels", "UINT8")
    output = "image"
    answers = frozenset({("image", "UINT8")})
    channels = ()
    takes = "label maps"
    kind = "reconstructor"
    does = "rebuilds"
    about = "The image that a label map (labels, UINT8 [N,H,W]) stands for"
    golden_text = "the worst golden image is rebuilt to {:.1f} dB"

    def rebuild(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] drawn of class ids [n,h,w] (255: no class); raises like `run`."""
        return self.draw(labels)


def opened(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> Reconstructor | None:
    """The bundle's reconstructor, or None where it has none."""
    if RECONSTRUCTOR not in bundle.files:
        return None
    return Reconstructor(bundle, provider=provider, threads=threads)
