"""An image in, the same street in the source city's colours out: a bundle's translator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.bundle import TRANSLATOR, Bundle
from serve.drawing import Drawing


class Translator(Drawing):
    """A bundle's translator; see Graph for the arguments and for what is raised."""

    file = TRANSLATOR
    given = ("image", "UINT8")
    output = "translated"
    answers = frozenset({("translated", "UINT8")})
    channels = (3,)
    takes = "images"
    kind = "translator"
    does = "translates"
    about = "The image (image, UINT8 [N,H,W,3], RGB) in the colours of the city it was trained on"
    golden_text = "the worst golden image is translated to {:.1f} dB"

    def translate(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] in the source's colours of images uint8 [n,h,w,3]; raises like `run`."""
        return self.draw(images)


def opened(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> Translator | None:
    """The bundle's translator, or None where it has none."""
    if TRANSLATOR not in bundle.files:
        return None
    return Translator(bundle, provider=provider, threads=threads)
