import numpy as np

from serve.media.paint import class_shares, colourise, legend, overlay

PALETTE = ((1, 2, 3), (40, 50, 60))


def test_colourise_and_ignored_pixels():
    colours = colourise(np.array([[0, 1], [1, 255]], np.uint8), PALETTE)
    assert colours.dtype == np.uint8
    assert colours.tolist() == [[[1, 2, 3], [40, 50, 60]], [[40, 50, 60], [0, 0, 0]]]


def test_overlay():
    image, labels = np.full((1, 1, 3), 100, np.uint8), np.ones((1, 1), np.uint8)
    assert overlay(image, labels, PALETTE).tolist() == [[[70, 75, 80]]]
    assert overlay(image, labels, PALETTE, 1.0).tolist() == [[[40, 50, 60]]]
    assert overlay(image, labels, PALETTE, 0.0).tolist() == [[[100, 100, 100]]]


def test_shares():
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    assert class_shares(labels, ("road", "car", "sky")) == {"road": 0.5, "car": 0.25, "sky": 0.0}


def test_legend_shows_each_colour_and_some_text():
    picture = legend(("road", "car"), PALETTE)
    assert picture.shape[0] == 48
    assert [tuple(picture[y, 10]) for y in (12, 36)] == list(PALETTE)
    assert all((picture[y : y + 24, 48:] < 128).any() for y in (0, 24))
