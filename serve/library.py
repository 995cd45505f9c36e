"""A bundle inside a program of one's own, without server and without torch:

from serve.library import open_bundle

bundle = open_bundle("bundles/street")
answer = bundle.segment(frame)  # RGB uint8 [h,w,3], or the bytes of a JPEG, PNG or WebP file
road = answer.labels == bundle.classes.index("road")
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from export.bundle import ANY, Trust, read_bundle
from export.bundle.graphs import Precision
from roadshift import UserError
from serve.limits import pixel_limit
from serve.media.codec import decode
from serve.runtime.engine import Answer, Engine


class OpenBundle:
    """A verified segmentor on one device; `segment` may be called from several threads at once."""

    def __init__(self, engine: Engine, max_pixels: int) -> None:
        self.engine, self.max_pixels = engine, max_pixels
        self.classes: tuple[str, ...] = engine.bundle.classes
        """The names of the class ids, in their order."""
        self.palette: tuple[tuple[int, int, int], ...] = engine.bundle.palette
        """RGB, 0..255, of each class."""

    def segment(self, image: NDArray[np.uint8] | bytes, *, confidence: bool = False) -> Answer:
        """The class of every pixel: labels uint8 [h,w], and where asked how sure each is.

        `image` is RGB uint8 [h,w,3], or the bytes of a JPEG, PNG or WebP file, of the bundle's size
        where it has one. The confidence, uint8 [h,w], is the largest softmax probability times 255.
        Raises UserError for an image that does not fit or cannot be decoded, Failure when the
        device gives up.
        """
        pixels = decode(image, self.max_pixels) if isinstance(image, bytes) else image
        if pixels.dtype != np.uint8 or pixels.ndim != 3:
            raise UserError(
                f"wanted RGB uint8 [h,w,3] or the bytes of an image file, got {pixels.dtype} "
                f"{list(pixels.shape)}: convert the image"
            )
        found = self.engine.segment(np.ascontiguousarray(pixels)[None], confidence=confidence)
        sure = None if found.confidence is None else found.confidence[0]
        return Answer(found.labels[0], sure)


def open_bundle(
    folder: str | PathLike[str],
    *,
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu",
    precision: Precision = "fp32",
    threads: int = 0,
    trust: Trust = ANY,
    max_pixels: int | None = None,
) -> OpenBundle:
    """The bundle in that folder, its files compared with their hashes and its golden frames tried.

    `threads` are CPU threads of one call (0: one a core); `trust` is what the bundle must
    prove (its digest, a signature); images given as bytes have at most `max_pixels`, by default 4
    times those of the largest frame that the bundle knows, and at least 4 Mi. Memory beyond a usual
    frame's is given back after each call (see `serve.runtime.working_memory`). Raises
    UserError for a folder that is no whole bundle or a precision that it lacks, Failure when the
    provider does not start or a golden frame does not come out as it should.
    """
    bundle = read_bundle(Path(folder), trust)
    engine = Engine(bundle, provider=provider, precision=precision, threads=threads)
    engine.check_golden()
    return OpenBundle(engine, max_pixels or pixel_limit(bundle))
