"""What the demo shows of an image."""

import numpy as np
import pytest

from demo.page.segmentation import MAX_SIDE, SegmentedImage, heat, heat_scale, painted, segment
from roadshift import UserError
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def shown(bundle, street) -> SegmentedImage:
    return segment(Engine(bundle, threads=1), bundle, street(40, 60))


def test_segments_at_the_image_size(shown, street) -> None:
    assert (shown.labels == street(40, 60).argmax(2)).all()
    assert shown.confidence.shape == (40, 60)
    assert shown.note.startswith("40x60 pixels · segmented in ")
    assert "under 50 % on 0.0 %" in shown.note


def test_a_fixed_size_bundle_gets_its_size(fixed_bundle, street) -> None:
    shown = segment(Engine(fixed_bundle, threads=1), fixed_bundle, street(64, 128))
    assert shown.image.shape == (32, 64, 3)
    assert shown.labels.shape == (32, 64)
    assert "64x128 pixels, resized to 32x64, the only size" in shown.note


def test_too_small_an_image_is_the_engines_error(bundle, street) -> None:
    with pytest.raises(UserError, match="8x8"):
        segment(Engine(bundle, threads=1), bundle, street(4, 60))


def test_opacity_goes_from_the_image_to_the_class_colours(shown, bundle) -> None:
    assert (painted(shown, bundle, 0.0) == shown.image).all()
    assert (painted(shown, bundle, 1.0) == np.array(bundle.palette, np.uint8)[shown.labels]).all()


def test_large_images_are_shown_smaller_with_exact_class_colours(bundle) -> None:
    labels = np.zeros((100, 2 * MAX_SIDE), np.uint8)
    labels[:, ::2] = 2
    large = SegmentedImage(np.zeros((*labels.shape, 3), np.uint8), labels, labels, "")
    picture = painted(large, bundle, 1.0)
    assert picture.shape == (50, MAX_SIDE, 3)
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert colours <= {bundle.palette[0], bundle.palette[2]}  # and not the class between them
    assert heat(large).shape == (50, MAX_SIDE, 3)


def test_heat_goes_from_dark_blue_to_yellow(shown) -> None:
    first, *_, last = heat_scale()
    assert len(heat_scale()) == 11
    assert max(first) < 100 < min(last[:2])
    sure = shown._replace(confidence=np.full((40, 60), 255, np.uint8))
    assert tuple(heat(sure)[0, 0].tolist()) == last
