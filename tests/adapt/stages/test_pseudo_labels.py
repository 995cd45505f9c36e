"""Class-wise thresholds from histograms: right, and of the same memory for any number of images."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.stages import pseudo_labels
from adapt.stages.pseudo_labels import (
    BINS,
    Confident,
    Histograms,
    confident,
    counted,
    keep_confident,
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


def test_half_of_a_class_is_kept(tmp_path: Path) -> None:
    confidence = torch.linspace(0.3, 0.8, 100).view(1, 10, 10)
    found = Confident(torch.zeros(1, 10, 10).byte(), confidence)
    thresholds = counted(lambda _: found, 1, 1, tmp_path / "counts.safetensors").thresholds()
    assert int((keep_confident(found, thresholds) == 0).sum()) in (50, 51)


def test_counting_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are kept after every second image here; the fourth look at an image breaks off."""
    monkeypatch.setattr(pseudo_labels, "KEPT_EVERY", 2)
    kept, asked = tmp_path / "counts.safetensors", []
    rng = np.random.default_rng(0)
    images = [
        Confident(torch.zeros(1, 8, 8).byte(), torch.from_numpy(rng.random((1, 8, 8), np.float32)))
        for _ in range(5)
    ]

    def segment(i: int) -> Confident:
        asked.append(i)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return images[i]

    with pytest.raises(KeyboardInterrupt):
        counted(segment, 5, 1, kept)
    found = counted(segment, 5, 1, kept)
    assert asked == [0, 1, 2, 3, 2, 3, 4]
    whole = counted(lambda i: images[i], 5, 1, tmp_path / "other.safetensors")
    assert torch.equal(found.counts, whole.counts)


def test_the_softmax_comes_before_upsampling() -> None:
    logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 2.0]]]])
    found = confident(logits, (1, 4), align_corners=False)
    p = torch.nn.functional.interpolate(logits.softmax(1), (1, 4), mode="bilinear")
    torch.testing.assert_close(found.confidence, p.amax(1))
    assert found.labels.flatten().tolist() == [0, 0, 1, 1]


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """2,000 images, whose confidences alone take 66 MB: the process grows by less than 20 MB."""
    rng, seen = np.random.default_rng(0), []
    labels = torch.from_numpy(rng.integers(0, 4, (1, 64, 128), dtype=np.uint8))

    def segment(i: int) -> Confident:
        if i % 100 == 0:
            seen.append(resident())
        return Confident(labels, torch.from_numpy(rng.random((1, 64, 128), dtype=np.float32)))

    counted(segment, 20, 4, tmp_path / "few.safetensors")
    before = resident()
    counted(segment, 2000, 4, tmp_path / "many.safetensors")
    assert max(seen) - before < 20 * 2**20


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
