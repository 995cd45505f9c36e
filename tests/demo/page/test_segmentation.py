"""From a visitor's file to what is shown of it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from demo.page.segmentation import (
    MOST_SHOWN,
    Opened,
    advice,
    learnt_size,
    note,
    open_picture,
    segment,
    viridis,
    working_size,
)
from roadshift import UserError
from serve.limits import Refusal
from serve.media.codec import encode_png
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def learnt(bundle):
    """The bundle, of a network that learnt from frames of 128x256 as they are."""
    sizes = [{"size": [128, 256]}, {"size": [32, 32]}]
    checks = {"precisions": {"fp32": {"min_agreement": 0.999, "sizes": sizes}}}
    return replace(bundle, provenance={"work_size": None}, checks=checks)


def picture(image) -> Opened:
    return Opened(image, image.shape[:2])


def test_segments_at_the_picture_s_size(bundle, street) -> None:
    shown = segment(Engine(bundle, threads=1), picture(street(40, 60)))
    assert (shown.labels == street(40, 60).argmax(2)).all()
    assert shown.confidence.shape == shown.worked_at == (40, 60)
    assert note(picture(street(40, 60)), shown).startswith("40x60 pixels, segmented in ")


def test_at_the_size_learnt_the_labels_come_back_at_the_picture_s(learnt, street) -> None:
    shown = segment(Engine(learnt, threads=1), picture(street(512, 512)), "learnt")
    assert shown.worked_at == (181, 181)  # as many pixels as 128x256, in the picture's shape
    assert shown.labels.shape == shown.confidence.shape == (512, 512)
    assert (shown.labels == street(512, 512).argmax(2)).mean() > 0.98
    assert "seen by the network at 181x181" in note(picture(street(512, 512)), shown)


def test_a_bundle_of_one_size_sees_that_size(fixed_bundle, street) -> None:
    shown = segment(Engine(fixed_bundle, threads=1), picture(street(64, 128)))
    assert shown.worked_at == learnt_size(fixed_bundle) == (32, 64)
    assert shown.labels.shape == (64, 128)


def test_the_smallest_size_holds_at_the_size_learnt_too(learnt) -> None:
    assert working_size(learnt, (2000, 4), "learnt")[1] == learnt.min_size[1]
    assert working_size(learnt, (64, 64), "own") == (64, 64)


def test_a_much_larger_picture_comes_with_advice(learnt, bundle, fixed_bundle, street) -> None:
    large = picture(street(512, 1024))
    given = advice(learnt, large)
    assert given is not None
    assert "4.0 times as high and wide" in given["text"]
    assert given["learnt"] == "128x256"
    assert advice(learnt, picture(street(256, 512))) is None
    silent = {"precisions": {"fp32": {"min_agreement": 0.999}}}
    assert advice(replace(bundle, checks=silent), large) is None  # it does not say
    inside = replace(learnt, provenance={"work_size": [128, 256]})
    assert advice(inside, large) is None  # its graph resizes every picture
    assert advice(fixed_bundle, large) is None  # there is nothing to choose


def test_a_huge_picture_is_scaled_down_and_says_so(bundle) -> None:
    data = encode_png(np.zeros((3000, 2000, 3), np.uint8))
    opened = open_picture(data)
    height, width = opened.size
    assert MOST_SHOWN * 0.99 < height * width <= MOST_SHOWN
    assert abs(height / width - 1.5) < 0.01
    words = note(opened, segment(Engine(bundle, threads=1), opened))
    assert f"3000x2000 pixels, scaled down to {height}x{width} because it is so large" in words


def test_webp_is_read(street) -> None:
    data = cv2.imencode(".webp", street(20, 30), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert (open_picture(data).image[..., ::-1] == street(20, 30)).all()


def test_what_is_no_picture_is_told_in_plain_words(street) -> None:
    huge = encode_png(np.zeros((8200, 8200), np.uint8))
    files = {
        b"\x00\x01": "no picture that can be read",
        b"": "no picture",
        encode_png(street(8, 8))[:60]: "damaged or cut off",
        huge: "too large",
    }
    for data, words in files.items():
        with pytest.raises(Refusal, match=words) as refusal:
            open_picture(data)
        assert "00 01" not in str(refusal.value)


def test_too_small_an_image_is_the_engines_error(bundle, street) -> None:
    with pytest.raises(UserError, match="8x8"):
        segment(Engine(bundle, threads=1), picture(street(4, 60)))


def test_the_scale_goes_from_dark_blue_to_yellow() -> None:
    colours = viridis()
    assert len(colours) == 256
    assert max(colours[0]) < 100 < min(colours[-1][:2])
