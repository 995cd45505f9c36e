"""Class-wise thresholds from histograms: right, and of the same memory for any number of images."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.stages.pseudo_labels import (
    BINS,
    Confident,
    Histograms,
    confident,
    keep_confident,
    pseudo_label,
)


def test_thresholds_are_the_medians_by_class() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 3, (5, 20, 30)).astype(np.uint8))
    confidence = torch.from_numpy(rng.uniform(0.2, 0.85, labels.shape).astype(np.float32))
    histograms = Histograms(4)
    for i in range(5):
        histograms.add(Confident(labels[i : i + 1], confidence[i : i + 1]))
    thresholds = histograms.thresholds(0.9)
    for c in range(3):
        median = float(confidence[labels == c].median())  # the lower of two middle ones, as BDL's
        assert float(thresholds[c]) <= median < float(thresholds[c]) + 1.001 / BINS
    assert float(thresholds[3]) == 0  # nowhere predicted


def test_a_threshold_is_never_above_the_cap() -> None:
    histograms = Histograms(1)
    histograms.add(Confident(torch.zeros(1, 2, 2).byte(), torch.full((1, 2, 2), 0.99)))
    assert histograms.thresholds(0.9).tolist() == pytest.approx([0.9])


def test_what_is_below_its_classs_threshold_is_ignored() -> None:
    found = Confident(torch.tensor([[[0, 0, 1, 1]]]).byte(), torch.tensor([[[0.5, 0.7, 0.5, 0.7]]]))
    kept = keep_confident(found, torch.tensor([0.6, 0.4]))
    assert kept.dtype == torch.uint8
    assert kept.flatten().tolist() == [255, 0, 1, 1]


def test_half_of_a_class_is_kept() -> None:
    confidence = torch.linspace(0.3, 0.8, 100).view(1, 10, 10)
    found = Confident(torch.zeros(1, 10, 10).byte(), confidence)
    written: list[torch.Tensor] = []
    pseudo_label(lambda: [found], 1, 0.9, lambda _, labels: written.append(labels))
    assert int((written[0] == 0).sum()) in (50, 51)


def test_the_softmax_comes_before_upsampling() -> None:
    logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 2.0]]]])
    found = confident(logits, (1, 4), align_corners=False)
    p = torch.nn.functional.interpolate(logits.softmax(1), (1, 4), mode="bilinear")
    torch.testing.assert_close(found.confidence, p.amax(1))
    assert found.labels.flatten().tolist() == [0, 0, 1, 1]


def test_memory_does_not_grow_with_the_images() -> None:
    """2,000 images, whose confidences alone take 66 MB: the process grows by less than 20 MB."""
    rng, seen = np.random.default_rng(0), []
    labels = rng.integers(0, 4, (1, 64, 128), dtype=np.uint8)

    def images(count: int) -> Iterator[Confident]:
        for i in range(count):
            confidence = rng.random((1, 64, 128), dtype=np.float32)
            yield Confident(torch.from_numpy(labels), torch.from_numpy(confidence))
            if i % 100 == 0:
                seen.append(resident())

    pseudo_label(lambda: images(20), 4, 0.9, lambda _i, _labels: None)
    before = resident()
    pseudo_label(lambda: images(2000), 4, 0.9, lambda _i, _labels: None)
    assert max(seen) - before < 20 * 2**20


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
