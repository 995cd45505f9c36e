"""The confidence out of low-resolution logits is the one that torch has of upsampled ones."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from serve.runtime.exact_labels import confidence
from serve.runtime.exact_labels.confidence import confidence_at

SIZES = [((8, 12), (64, 96)), ((8, 12), (61, 97)), ((33, 40), (16, 24)), ((1, 1), (7, 5))]


def logits(size: tuple[int, int], c: int = 19, n: int = 2) -> np.ndarray:
    return 3 * np.random.default_rng(c).standard_normal((n, c, *size), np.float32)


def true(given: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    full = interpolate(
        torch.from_numpy(given), size=size, mode="bilinear", align_corners=align_corners
    )
    return 255 * full.softmax(1).amax(1).numpy()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("small", "size"), SIZES)
@pytest.mark.parametrize("chunk", [1, 3000, 1 << 18])
def test_it_is_torchs(small, size, align_corners, chunk, monkeypatch) -> None:
    monkeypatch.setattr(confidence, "CHUNK", chunk)
    given = logits(small)
    found = confidence_at(given, size, align_corners, 1)
    assert found.dtype == np.uint8
    assert found.shape == (2, *size)
    assert np.abs(found - true(given, size, align_corners)).max() < 0.501


@pytest.mark.parametrize("c", [1, 2, 255])
def test_few_classes_and_many(c) -> None:
    given = logits((4, 6), c, 1)
    assert (
        np.abs(confidence_at(given, (16, 24), False) - true(given, (16, 24), False)).max() < 0.501
    )


def test_several_threads_write_the_same() -> None:
    given = logits((16, 32))
    one, many = (confidence_at(given, (256, 512), False, threads) for threads in (1, 5))
    assert np.array_equal(one, many)


def test_logits_without_end_do_no_harm() -> None:
    given = logits((4, 6))
    given[0, 3, 2, 2], given[1, 0] = np.nan, np.inf
    confidence_at(given, (64, 96), False, 1)  # -W error: a warning would be one


def test_memory_is_that_of_some_rows() -> None:
    """19 classes of a megapixel are 80 MB."""
    given = logits((64, 64), n=1)
    tracemalloc.start()
    try:
        confidence_at(given, (1024, 1024), False, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
