"""A visitor's label picture."""

import numpy as np
import pytest

from demo.page.label_picture import read_labels
from export.bundle.golden import png
from serve.limits import Refusal
from serve.media.codec import encode_jpeg


def test_ids_and_colours_are_the_same_labels_at_the_picture_s_size(bundle) -> None:
    ids = np.array([[0, 1], [2, 255]], np.uint8)
    colours = np.array([*bundle.palette, (0, 0, 0)], np.uint8)[np.minimum(ids, 3)]
    large = ids.repeat(2, 0).repeat(3, 1)
    for picture in (ids, colours):
        assert np.array_equal(read_labels(png(picture), bundle, (4, 6)), large)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(np.full((4, 4), 7, np.uint8)), "class id 7; this bundle has 0 to 2"),
        (png(np.full((4, 4), 255, np.uint8)), "none of this bundle's class ids"),
        (png(np.full((4, 4, 3), 9, np.uint8)), "none of this bundle's class colours"),
        (encode_jpeg(np.zeros((4, 4, 3), np.uint8)), "cannot be read"),
        (png(np.zeros((40, 40), np.uint8))[:50], "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_what_are_no_labels_is_explained(bundle, data, words) -> None:
    with pytest.raises(Refusal, match=words):
        read_labels(data, bundle, (4, 4))
