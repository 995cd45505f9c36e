"""Cheap signs that frames are not what a model was made for: one frame a second is looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram, Summary

from export.bundle import Bundle

EVERY_SECONDS = 1.0
_GRID = 128
"""At most so many rows and columns of a frame are looked at."""
_LEAST_SPREAD = 12.0
"""Grey levels by which usual frames differ at least: the golden frames are few."""
DISTANCES = (0.5, 1, 1.5, 2, 3, 4, 6, 8)


def look(image: NDArray[np.uint8]) -> NDArray[Any]:
    """Seven statistics of an RGB image [h,w,3], float64 in grey levels.

    Each channel's mean and standard deviation, and the mean step from a pixel of a coarse grid to
    the next: blur, rain and dirt lower it, noise raises it.
    """
    h, w = image.shape[:2]
    size = (min(w, _GRID), min(h, _GRID))
    coarse: NDArray[Any] = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(float)
    steps = [np.abs(np.diff(coarse, axis=axis)).mean() for axis in (0, 1) if coarse.shape[axis] > 1]
    return np.array([*coarse.mean((0, 1)), *coarse.std((0, 1)), np.mean(steps or [0.0])])


class DriftMetrics:
    """What is told of all models' frames."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.shares = Summary(
            "roadshift_class_share",
            "Share (0..1) of a frame's pixels that a class has",
            ["model", "class"],
            registry=registry,
        )
        self.confidence = Summary(
            "roadshift_confidence",
            "A frame's mean confidence (0..1), where it was asked for",
            ["model"],
            registry=registry,
        )
        self.distance = Histogram(
            "roadshift_look_distance",
            "How far a frame's colours, contrast and sharpness are from the golden frames'",
            ["model"],
            buckets=DISTANCES,
            registry=registry,
        )


class Drift:
    """Looks at a frame of one bundle's segmentor now and then."""

    def __init__(self, bundle: Bundle, metrics: DriftMetrics) -> None:
        self._bundle, self._metrics = bundle, metrics
        self._usual: NDArray[np.float64] | None = None
        self._spread = np.full(7, _LEAST_SPREAD)
        self._due = time.monotonic()

    def prepare(self) -> None:
        """Reads the golden frames, before which no frame is looked at; in a thread, if need be."""
        looks = np.array([look(frame.image) for frame in self._bundle.golden()])
        self._spread = np.maximum(looks.std(0), _LEAST_SPREAD)
        self._usual = looks.mean(0)

    def distance(self, image: NDArray[np.uint8]) -> float:
        """Root mean square of the statistics' differences from the golden frames', in spreads."""
        assert self._usual is not None
        return float(np.sqrt((((look(image) - self._usual) / self._spread) ** 2).mean()))

    def see(self, images: NDArray[np.uint8], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Takes the first of those images [n,h,w,3] and what came of it, if it is time again."""
        now = time.monotonic()
        if self._usual is None or now < self._due:
            return
        self._due = now + EVERY_SECONDS
        name = self._bundle.name
        self._metrics.distance.labels(name).observe(self.distance(images[0]))
        if "labels" in outputs:
            shares = _shares(outputs["labels"][0], self._bundle.classes)
            for label, share in zip(self._bundle.classes, shares, strict=True):
                self._metrics.shares.labels(name, label).observe(share)
        if "confidence" in outputs:
            self._metrics.confidence.labels(name).observe(outputs["confidence"][0].mean() / 255)


def _shares(labels: NDArray[np.uint8], classes: Sequence[str]) -> NDArray[np.float64]:
    """The share of each class on a grid of the labels [h,w]."""
    step = (max(1, labels.shape[0] // _GRID), max(1, labels.shape[1] // _GRID))
    seen = labels[:: step[0], :: step[1]].ravel()
    return np.bincount(seen, minlength=256)[: len(classes)] / seen.size
