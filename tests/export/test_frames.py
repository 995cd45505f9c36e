from __future__ import annotations

import numpy as np
import pytest

from export.frames import Frame, Frames, frames_with_labels, frames_without_labels
from roadshift import UserError


def test_frames_are_spread_over_all() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    frames = Frames("folder:x", 100, lambda i: Frame(image + np.uint8(i), None), False)
    few = frames.spread(4)
    assert [int(few.read(i).image[0, 0, 0]) for i in range(few.count)] == [0, 33, 66, 99]
    assert frames.spread(100) is frames
    assert frames.spread(1).read(0).image[0, 0, 0] == 0


def test_no_frames() -> None:
    with pytest.raises(UserError, match="folder:x has no frames"):
        Frames("folder:x", 0, lambda _: Frame(np.zeros((4, 4, 3), np.uint8), None), False)


def test_labels_are_resized_without_mixing() -> None:
    label = np.array([[0, 2], [255, 2]], np.uint8)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), label)
    large = frame.resized((6, 10))
    assert (large.size, large.label.shape) == ((6, 10), (6, 10))
    assert set(np.unique(large.label)) == {0, 2, 255}
    assert frame.resized((2, 2)) is frame


def test_a_data_spec_gives_frames() -> None:
    images = frames_without_labels("toytown:camera#val")
    frame = images.read(0)
    assert (frame.image.dtype, frame.image.shape, frame.label) == ("uint8", (128, 256, 3), None)
    assert (images.spec, images.labelled, images.count) == ("toytown:camera#val", False, 200)


def test_labels_are_matched_by_name() -> None:
    frames = frames_with_labels("toytown:camera#val", ("sky", "road"))
    frame = frames.read(0)
    assert frames.labelled
    assert (frame.label.dtype, frame.label.shape) == ("uint8", (128, 256))
    assert set(np.unique(frame.label)) == {0, 1, 255}
    rows = np.arange(128)[:, None]
    assert (rows * (frame.label == 0)).sum() / (frame.label == 0).sum() < 64  # sky is above
