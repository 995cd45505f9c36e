"""A bundle's graph held against itself, where no golden frame says what is right.

Two routes to the labels of the same logits, several frames at once and each alone, an enlarged
frame and the same frame as it is: whatever torch makes of them, they must agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.bundle.reproduction import EXACT_LOGITS, relative_error
from roadshift import Failure, hxw
from serve.runtime.engine import Engine
from serve.runtime.exact_labels.confidence import confidence_at

MIN_ROUTES_AGREE = 0.9999
"""Of a frame's labels: ties within rounding may fall either way, and nothing else may."""
CONFIDENCE_LEVELS = 2
"""Of 255, the largest difference of a pixel between the routes."""
TOGETHER = 5
LARGE = 1 << 21
"""Pixels of the enlarged frame at most, for up to 32 classes: what a camera gives."""
Image = NDArray[np.uint8]


def routes_agree(engine: Engine) -> float:
    """The share of labels in which two routes agree on the worst frame; Failure for too few, or for
    confidence that differs.

    Of `engine`, whose route is the dense one, both are asked about the same logits: in INT8 the
    last bit of a resized picture already changes others.
    """
    worst, off, bundle = 1.0, 0, engine.bundle
    for image in frames(bundle):
        size = (image.shape[0], image.shape[1])
        answer = engine.run(image[None], ["labels", "confidence", "logits"])
        exact = engine.upsampled(answer["logits"], size)
        worst = min(worst, float(np.mean(answer["labels"] == exact)))
        sure = confidence_at(answer["logits"], size, bundle.align_corners, engine.threads)
        off = max(off, int(np.abs(answer["confidence"].astype(np.int16) - sure).max()))
    if worst < MIN_ROUTES_AGREE:
        raise Failure(
            f"bundle {bundle.name}: in {engine.precision} the exact and the dense route "
            f"agree in {worst:.4%} of a frame's labels; wanted {MIN_ROUTES_AGREE:.2%}: the "
            "manifest says otherwise than the graph how logits are upsampled, or the graph's "
            "labels are not those of its logits; export the run again"
        )
    if off > CONFIDENCE_LEVELS:
        raise Failure(
            f"bundle {bundle.name}: in {engine.precision} the exact and the dense route differ by "
            f"{off} of 255 in a pixel's confidence; wanted {CONFIDENCE_LEVELS} at most: the "
            "graph's confidence is not that of its logits; export the run again"
        )
    return worst


def check_batch(engine: Engine) -> None:
    """Failure unless frames that are run together come out as each does alone."""
    if engine.inputs[0].shape[0] == 1:
        return
    shape = engine.bundle.golden()[0].image.shape
    count = max(3, min(TOGETHER, LARGE // engine.pixels((1, *shape))))
    alike = (image for image in frames(engine.bundle) if image.shape == shape)
    images = list(islice(alike, count))
    together = engine.at_once(np.stack(images), ["logits"])["logits"]
    for i, image in enumerate(images):
        what = f"frame {i + 1} of {len(images)} that are run at once"
        _same(engine, together[i], engine.at_once(image[None], ["logits"])["logits"][0], what)


def check_enlarged(engine: Engine) -> None:
    """Failure unless a frame whose pixels are repeated comes out as the frame itself does.

    Only of a network that works at a size of its own, to which both are resized alike.
    """
    bundle = engine.bundle
    if bundle.work_size is None or bundle.size is not None:
        return
    image = cv2.resize(bundle.golden()[0].image, bundle.work_size[::-1])
    image = image.astype(np.uint8, copy=False)
    large = enlarged(image, len(bundle.classes))
    found, wanted = (engine.at_once(x[None], ["logits"])["logits"] for x in (large, image))
    _same(engine, found, wanted, f"a frame enlarged to {hxw(large.shape[:2])}")


def enlarged(image: Image, classes: int) -> Image:
    """The frame with every pixel repeated as often as LARGE allows, both ways alike.

    A graph upsamples the logits of all classes: with more than 32 it takes no more memory.
    """
    most = LARGE * min(1.0, 32 / classes)
    times = max(1, math.isqrt(int(most) // (image.shape[0] * image.shape[1])))
    return image.repeat(times, 0).repeat(times, 1)


def frames(bundle: Bundle) -> Iterator[Image]:
    """The golden frames, and others [h,w,3] in which more classes may win: these upside down,
    blocks of random colours, one all dark and one all bright, and a large one where the network
    works at a size of its own."""
    images = [golden.image for golden in bundle.golden()]
    yield from images
    yield from (np.ascontiguousarray(image[::-1]) for image in images)
    height, width = images[0].shape[:2]
    random = np.random.default_rng(0)
    for side in (8, 32):
        colours = random.integers(0, 256, (-(-height // side), -(-width // side), 3), np.uint8)
        blocks = colours.repeat(side, 0).repeat(side, 1)[:height, :width]
        yield np.ascontiguousarray(blocks)
    yield from (np.full_like(images[0], grey) for grey in (0, 255))
    if bundle.work_size is not None and bundle.size is None:
        yield enlarged(images[0], len(bundle.classes))


def _same(
    engine: Engine, found: NDArray[np.floating], wanted: NDArray[np.floating], what: str
) -> None:
    """Failure where logits are further apart than this precision's may be from torch's."""
    bundle, precision = engine.bundle, engine.precision
    off, limits = relative_error(found, wanted), bundle.limits(precision)
    if precision != "fp32" and "max_logit_error" not in limits:
        return  # an older format does not say how far
    most = float(limits.get("max_logit_error", EXACT_LOGITS))
    if not off <= most:
        raise Failure(
            f"bundle {bundle.name}: in {precision} {what} has logits that are off by {off:.2%} of "
            f"their deviation from those it has alone as it is (allowed {most:.2%}): export the "
            "run again"
        )
