"""What `monitor.py` measures of a frame: its true error, and every signal of the server's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from export.bundle import Bundle
from export.bundle.graphs import RECONSTRUCTOR
from roadshift import UserError
from serve.models.drift import Drift
from serve.models.metrics import Metrics
from serve.models.self_check.self_check import UNUSUAL, self_check_of
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph

Pixels = NDArray[np.uint8]
OLD = 10
"""frames of those taken: how late the labels are that are not the frame's own"""
PIXELS = 37
"""every so many of a frame's pixels go into the AUROC"""
SIGNALS = {
    "self-check": "self-check (`monitor=1`)",
    "entropy": "softmax entropy",
    "confidence": "1 - confidence",
    "look": "low-level statistics (`roadshift_look_distance`)",
    "shares": "class shares, from the golden frames'",
    "contrast": "local contrast of the frame alone, for comparison",
}
MAPS = {name: SIGNALS[name] for name in ("self-check", "entropy", "confidence", "contrast")}


def _bytes(x: NDArray[Any]) -> Pixels:
    return x.clip(0, 255).astype(np.uint8)


SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "as filmed": lambda x: x,
    "dark": lambda x: _bytes(x * 0.25),
    "fog": lambda x: _bytes(x * 0.35 + 130),
    "out of focus": lambda x: _bytes(cv2.GaussianBlur(x, (0, 0), x.shape[0] / 100)),
    "noise": lambda x: _bytes(x + np.random.default_rng(0).normal(0, 25, x.shape)),
}


class Looked(NamedTuple):
    """A frame: its error, its signals and its maps by their names, and what was timed."""

    error: float
    signals: dict[str, float]
    pixels: dict[str, NDArray[Any]]
    cells: dict[str, NDArray[Any]]
    wrong: NDArray[np.bool_]
    wrong_cells: NDArray[np.bool_]
    image: Pixels
    drawn: Pixels


class Looker:
    """A bundle with all its signals."""

    def __init__(self, bundle: Bundle) -> None:
        check = self_check_of(bundle)
        if check is None:
            raise UserError(f"{bundle.folder} cannot check itself: export with --reconstructor")
        self.bundle, self.check = bundle, check
        self.engine = Engine(bundle, threads=1)
        self.reconstructor = ImageGraph(bundle, RECONSTRUCTOR, threads=1)
        self.drift = Drift(bundle, Metrics().drift)
        self.drift.prepare()
        self.usual_shares = np.mean([self._shares(g.labels) for g in bundle.golden()], 0)

    def look(self, image: Pixels, label: Pixels) -> Looked:
        """Everything about one frame [h,w,3] with its true labels [h,w]."""
        found = self.engine.run(image[None], ["labels", "confidence", "logits"])
        labels = found["labels"][0]
        drawn = self.reconstructor.draw(labels[None])[0]
        checked = self.check(image, drawn)
        maps = {
            "self-check": checked.map,
            "entropy": entropy(found["logits"][0]),
            "confidence": 1 - found["confidence"][0].astype(np.float32) / 255,
            "contrast": contrast(image),
        }
        signals = {name: float(each.mean()) for name, each in maps.items()} | {
            "self-check": checked.score,
            "look": self.drift.distance(image),
            "shares": float(np.abs(self._shares(labels) - self.usual_shares).sum() / 2),
        }
        known, wrong = label != 255, (labels != label) & (label != 255)
        size, grid = labels.shape[::-1], checked.map.shape[::-1]
        seen, off = (
            cv2.resize(m.astype(np.float32), grid, interpolation=cv2.INTER_AREA)
            for m in (known, wrong)
        )
        full = {name: cv2.resize(each, size)[known][::PIXELS] for name, each in maps.items()}
        coarse = {
            name: cv2.resize(each, grid, interpolation=cv2.INTER_AREA)[seen > 0.5]
            for name, each in maps.items()
        }
        return Looked(
            float(wrong.sum() / known.sum()),
            signals,
            full,
            coarse,
            wrong[known][::PIXELS],
            (off > 0.5 * seen)[seen > 0.5],
            image,
            drawn,
        )

    def _shares(self, labels: Pixels) -> NDArray[np.float64]:
        return np.bincount(labels.ravel(), minlength=256)[: len(self.bundle.classes)] / labels.size


def entropy(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Of the softmax over classes [c,h,w], in nats, [h,w]."""
    z = logits - logits.max(0)
    p = np.exp(z) / np.exp(z).sum(0)
    return -(p * np.log(np.maximum(p, 1e-12))).sum(0).astype(np.float32)


def contrast(image: Pixels) -> NDArray[np.float32]:
    """The grey levels' standard deviation in a window as the self-check's, at 128 rows."""
    width = round(128 * image.shape[1] / image.shape[0])
    grey = cv2.cvtColor(
        cv2.resize(image, (width, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
    ).astype(np.float32)
    mean, square = (cv2.GaussianBlur(x, (0, 0), 2.0) for x in (grey, grey * grey))
    return np.sqrt(np.maximum(square - mean * mean, 0))


class Stale(NamedTuple):
    """What the self-check makes of labels of OLD frames before."""

    auroc: float
    """of telling them from a frame's own"""
    unusual: float
    """the share (0..1) that it calls unusual"""


def stale(looker: Looker, looked: Sequence[Looked]) -> Stale:
    """Of frames in their order."""
    own = [one.signals["self-check"] for one in looked]
    old = [looker.check(one.image, looked[i - OLD].drawn).score for i, one in enumerate(looked)]
    told = auroc(np.array(own + old), np.arange(2 * len(own)) >= len(own))
    return Stale(told, float(np.mean([score > UNUSUAL for score in old])))


def auroc(values: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Of telling the positive ones by larger values."""
    return float(roc_auc_score(positive, values))


def timed(looker: Looker, image: Pixels) -> tuple[float, float, float]:
    """Medians of ten runs: segmenting, drawing, comparing."""
    taken: list[tuple[float, float, float]] = []
    for _ in range(11):
        at = [time.perf_counter()]
        labels = looker.engine.run(image[None], ["labels"])["labels"]
        at.append(time.perf_counter())
        drawn = looker.reconstructor.draw(labels)[0]
        at.append(time.perf_counter())
        looker.check(image, drawn)
        at.append(time.perf_counter())
        taken.append((at[1] - at[0], at[2] - at[1], at[3] - at[2]))
    return tuple(1e3 * np.median(np.array(taken[1:]), 0))  # pyright: ignore[reportReturnType]
