from itertools import pairwise

import cv2
import numpy as np
import pytest

from serve.media.polygons import polygons

CLASSES = ["a", "b", "c", "d"]


def drawn(features, size):
    """The label map that the polygons cover: which of them hold the middle of each pixel."""
    labels = np.full(size, 255, np.uint8)
    for feature in features:
        mask = np.zeros((4 * size[0], 4 * size[1]), np.uint8)
        rings = [4 * np.array(ring[:-1], np.int32) for ring in feature["geometry"]["coordinates"]]
        cv2.fillPoly(mask, rings, 1)
        labels[mask[2::4, 2::4] == 1] = feature["properties"]["class"]
    return labels


@pytest.mark.parametrize("cells", [3, 8, 40])
def test_polygons_cover_what_they_are_made_of(cells):
    rng = np.random.default_rng(cells)
    small = rng.integers(0, 4, (cells, cells + 2), dtype=np.uint8)
    labels = cv2.resize(small, (60, 40), interpolation=cv2.INTER_NEAREST)
    labels[10:20, 10:30], labels[12:14, 20] = 3, 255
    found = polygons(labels, CLASSES, 0)
    assert np.array_equal(drawn(found, labels.shape), labels)


def test_a_region_with_a_hole():
    labels = np.zeros((6, 8), np.uint8)
    labels[1:5, 1:7] = 2
    labels[2:4, 3:5] = 255
    features = polygons(labels, CLASSES, 1)
    assert [each["properties"] for each in features] == [
        {"class": 0, "name": "a"},
        {"class": 2, "name": "c"},
    ]
    outline, hole = features[1]["geometry"]["coordinates"]
    assert outline[0] == outline[-1]
    assert {*map(tuple, outline)} == {(1, 1), (7, 1), (7, 5), (1, 5)}
    assert {*map(tuple, hole)} == {(3, 2), (5, 2), (5, 4), (3, 4)}
    # RFC 7946, 3.1.6: outlines turn one way, holes the other.
    assert signed_area(outline) == 24
    assert signed_area(hole) == -4


def signed_area(ring):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


def test_a_tolerance_leaves_corners_out():
    labels = np.tril(np.ones((40, 40), np.uint8))
    steps, straight = (
        len(polygons(labels, CLASSES, tolerance)[1]["geometry"]["coordinates"][0])
        for tolerance in (0, 1)
    )
    assert straight < 8
    assert steps > 70
