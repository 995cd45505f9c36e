"""The image redrawn from the labels, and where it disagrees."""

import cv2
import numpy as np
import pytest

from demo.page.reconstruction import MAX_SIDE, TOP, disagreement, matched, rebuild
from export.bundle import RECONSTRUCTOR
from serve.runtime.image_graphs import ImageGraph

DRAWN = np.array(((180, 80, 80), (80, 180, 80), (80, 80, 180)), np.uint8)


@pytest.fixture(scope="module")
def reconstructor(bundle) -> ImageGraph:
    return ImageGraph(bundle, RECONSTRUCTOR, threads=1)


def test_a_drawing_and_its_disagreement_of_one_size(reconstructor, street) -> None:
    image = street(40, 60)
    labels = image.argmax(2).astype(np.uint8)
    rebuilt = rebuild(reconstructor, image, labels)
    assert np.array_equal(rebuilt.drawing, DRAWN[labels])
    assert rebuilt.difference.shape == (40, 60)
    assert rebuilt.difference.dtype == np.uint8


def test_large_images_are_drawn_smaller(reconstructor) -> None:
    for size, drawn in (((2000, 3000), (683, MAX_SIDE)), ((4, 4 * MAX_SIDE), (8, MAX_SIDE))):
        labels = np.zeros(size, np.uint8)
        image = np.zeros((*size, 3), np.uint8)
        assert rebuild(reconstructor, image, labels).drawing.shape == (*drawn, 3)


def test_a_shift_and_a_scaling_of_a_channel_are_no_disagreement(street) -> None:
    image = street(96, 144)
    drawing = (image * (0.5, 0.7, 0.6) + (100, 20, 60)).astype(np.uint8)
    assert np.abs(matched(drawing, image) - image).mean() < 1
    assert disagreement(image, drawing).max() <= 1
    assert disagreement(image, image).max() == 0


def test_another_thing_is_a_disagreement_and_only_there() -> None:
    image = np.full((128, 128, 3), 60, np.uint8)
    image[:64] = 180
    drawing = image.copy()
    drawing[80:112, 80:112] = 180
    found = disagreement(image, drawing)
    assert found[96, 96] > 90
    assert found[:70].max() < 40
    edge = found[96, 76:84].astype(int)  # a box four pixels wide
    assert (np.diff(edge) >= 0).all()
    assert len(np.unique(edge)) >= 4


def test_a_drawing_of_one_grey_is_not_scaled(street) -> None:
    image = street(64, 64)
    grey = np.full_like(image, 128)
    assert np.isfinite(matched(grey, image)).all()
    assert np.allclose(matched(grey, image), image.mean((0, 1)), atol=1)


def test_the_scale_ends_at_top(reconstructor) -> None:
    """Every second row is black, and the drawing says nothing of that: 96 levels and more."""
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 255
    difference = rebuild(reconstructor, image, labels).difference
    by_hand = np.abs(image - matched(DRAWN[labels], image)).mean(2)
    assert cv2.blur(by_hand, (2, 2))[8:56, 8:24].min() > TOP
    assert difference[30, 16] == 255
