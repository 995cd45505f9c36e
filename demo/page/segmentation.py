"""From a visitor's file to what the demo page shows of it; knows no browser."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.html_parts import size_text
from export.bundle import Bundle
from roadshift import Failure
from serve.limits import Refusal
from serve.media.codec import decode
from serve.runtime.engine import Answer

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
At = Literal["own", "learnt"]
"""The size at which the network sees a picture: the picture's, or the one that it learnt at."""

MOST_DECODED = 64 << 20
"""Pixels of a picture that is decoded at all: more than a phone's camera takes."""
MOST_SHOWN = 2 << 20
"""Pixels that are segmented and shown, those of a frame of 1024x2048; a larger picture is scaled
down."""
MUCH_LARGER = 2.0
"""Times the side of the size learnt from which on a picture comes with a warning."""
WORDS = {
    400: "This picture is damaged or cut off: save it again, or choose another one.",
    413: f"This picture is too large: at most {MOST_DECODED >> 20} million pixels are read here. "
    "Scale it down first.",
    415: "This file is no picture that can be read here: choose a JPEG, PNG or WebP file, not an "
    "animation.",
}


class Segmenting(Protocol):
    """What the page needs of a model: an Engine in this process has it, and a server's model."""

    @property
    def bundle(self) -> Bundle:
        """What it is of."""
        ...

    def segment(self, images: Pixels, *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3], and where asked how sure it is.

        Raises UserError for images that do not fit it, with a sentence for whoever chose them.
        """
        ...


class Opened(NamedTuple):
    """A decoded picture, RGB [h,w,3] of at most MOST_SHOWN pixels, and the size that it came in."""

    image: Pixels
    found: Size

    @property
    def size(self) -> Size:
        """(height, width) of what is shown."""
        return self.image.shape[0], self.image.shape[1]


class SegmentedImage(NamedTuple):
    """Labels [h,w] and confidence [h,w] (255 is sure) at the picture's size, the size at which the
    network worked, and how long it took."""

    labels: Pixels
    confidence: Pixels
    worked_at: Size
    milliseconds: float


def open_picture(data: bytes) -> Opened:
    """A JPEG, PNG or WebP file's picture, scaled down to MOST_SHOWN pixels.

    Raises Refusal with a sentence for whoever chose the file.
    """
    try:
        image = decode(data, MOST_DECODED)
    except Refusal as refusal:
        raise Refusal(refusal.status, WORDS.get(refusal.status, str(refusal))) from refusal
    found = (image.shape[0], image.shape[1])
    return Opened(resized(image, scaled(found, MOST_SHOWN), cv2.INTER_AREA), found)


def segment(engine: Segmenting, picture: Opened, at: At = "own") -> SegmentedImage:
    """Segments a picture at its own size or the one learnt; the bundle's only size goes before.

    Where the network works at another size, labels come back to the picture's by the nearest pixel.
    Raises UserError where the engine does, for an image that is too small.
    """
    size = working_size(engine.bundle, picture.size, at)
    image = resized(picture.image, size, cv2.INTER_AREA)
    start = time.perf_counter()
    answer = engine.segment(image[None], confidence=True)
    milliseconds = 1000 * (time.perf_counter() - start)
    if answer.confidence is None:
        raise Failure("the engine left out the confidence that it was asked for")
    labels, confidence = (
        resized(one, picture.size, cv2.INTER_NEAREST)
        for one in (answer.labels[0], answer.confidence[0])
    )
    return SegmentedImage(labels, confidence, size, milliseconds)


def labels_of(engine: Segmenting, image: Pixels, seen: Size) -> Pixels:
    """Class ids [h,w] of an image RGB [h,w,3] that the network sees at the size `seen`; raises like
    `segment`."""
    labels = engine.segment(resized(image, seen, cv2.INTER_AREA)[None]).labels[0]
    return resized(labels, (image.shape[0], image.shape[1]), cv2.INTER_NEAREST)


def learnt_size(bundle: Bundle) -> Size | None:
    """(height, width) of the pictures that it learnt from; None where the bundle does not say, and
    where its graph brings every picture to the size that it works at."""
    if bundle.provenance.get("work_size"):
        return bundle.size
    # It learnt from frames as they are: the first size compared is that of its frames.
    size = bundle.size or next((one["size"] for one in _compared(bundle)), None)
    return (int(size[0]), int(size[1])) if size else None


def _compared(bundle: Bundle) -> Sequence[Mapping[str, Any]]:
    return bundle.checks["precisions"]["fp32"].get("sizes", ())


def working_size(bundle: Bundle, size: Size, at: At) -> Size:
    """(height, width) at which a picture of that size is segmented; its shape stays as it is."""
    if bundle.size is not None:
        return bundle.size
    learnt = learnt_size(bundle)
    if at == "own" or learnt is None:
        return size
    factor = math.sqrt(math.prod(learnt) / math.prod(size))
    height, width = (max(1, round(side * factor)) for side in size)
    return max(bundle.min_size[0], height), max(bundle.min_size[1], width)


def note(picture: Opened, shown: SegmentedImage) -> str:
    """What was done with the picture, in a line."""
    parts = [f"{size_text(picture.found)} pixels"]
    if picture.size != picture.found:
        parts.append(f"scaled down to {size_text(picture.size)} because it is so large")
    if shown.worked_at != picture.size:
        parts.append(f"seen by the network at {size_text(shown.worked_at)}")
    parts.append(f"segmented in {shown.milliseconds:.0f} ms")
    parts.append(f"{100 * shown.confidence.mean() / 255:.0f} % sure on average")
    return ", ".join(parts)


def advice(bundle: Bundle, picture: Opened) -> dict[str, str] | None:
    """A warning for a picture much larger than what the bundle learnt from, and that size.

    None where there is nothing to choose: a bundle of one size, or one that does not say.
    """
    learnt = learnt_size(bundle)
    if bundle.size is not None or learnt is None:
        return None
    times = math.sqrt(math.prod(picture.size) / math.prod(learnt))
    if times <= MUCH_LARGER:
        return None
    return {
        "text": f"This picture is {times:.1f} times as high and wide as those the network learnt "
        "from, so it may be wrong, and sure of it.",
        "learnt": size_text(working_size(bundle, picture.size, "learnt")),
    }


def scaled(size: Size, most: int) -> Size:
    """(height, width) scaled down to at most `most` pixels."""
    factor = min(1.0, math.sqrt(most / math.prod(size)))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def viridis() -> list[list[int]]:
    """256 RGB colours for the values 0 (dark blue) to 255 (yellow)."""
    steps = np.arange(256, dtype=np.uint8)[None]
    bgr = cv2.applyColorMap(steps, cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)[0].tolist()


def resized(pixels: Pixels, size: Size, how: int) -> Pixels:
    """The picture at that (height, width); `how` is OpenCV's interpolation."""
    if pixels.shape[:2] == size:
        return pixels
    return cv2.resize(pixels, size[::-1], interpolation=how).astype(np.uint8, copy=False)
