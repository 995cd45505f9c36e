"""Is a frame what its labels say: the distance, the score, and what export measured."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tiny_graphs import true_image, true_labels

from export.bundle import Golden
from serve.models.self_check.self_check import (
    UNUSUAL,
    SelfCheck,
    other_drawings,
    rest,
    self_check_of,
)
from serve.models.self_check.structure import unexplained


@pytest.fixture
def street() -> np.ndarray:
    """Large fields of pure colours, which the tiny reconstructor draws as they are."""
    coarse = np.random.default_rng(0).integers(0, 4, (12, 18), np.uint8)
    return true_image(cv2.resize(coarse, (288, 192), interpolation=cv2.INTER_NEAREST))


def test_light_colour_and_contrast_do_not_count(street) -> None:
    assert unexplained(street, street) == pytest.approx(0, abs=1e-6)
    duller = (street * 0.5 + 60).astype(np.uint8)
    assert unexplained(street, duller).max() < 0.05
    assert unexplained(street, 255 - street).mean() > 1


def test_a_dark_frame_or_one_in_fog_is_explained_as_the_same_by_day(street) -> None:
    by_day = unexplained(street, street[::-1]).mean()
    for seen in (street * 0.25, street * 0.35 + 130):
        found = unexplained(seen.astype(np.uint8), street[::-1]).mean()
        assert found == pytest.approx(by_day, rel=0.02)


def test_a_blurred_drawing_explains_far_more_than_another_one(street) -> None:
    blurred = cv2.GaussianBlur(street, (0, 0), 3)
    assert unexplained(street, blurred).mean() < 0.25 * unexplained(street, street[::-1]).mean()


def test_the_map_says_where(street) -> None:
    drawn = street.copy()
    drawn[:96, :144] = street[96:, 144:]
    cells = unexplained(street, drawn)
    assert cells.shape == (16, 24)
    assert cells.dtype == np.float32
    assert cells[:7, :11].mean() > 10 * cells[9:, 13:].mean()


@pytest.mark.parametrize(("h", "w", "columns"), [(64, 64, 16), (90, 30, 5), (8, 900, 64)])
def test_cells_are_square_where_they_can_be(h, w, columns) -> None:
    image = np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)
    assert unexplained(image, image).shape == (16, columns)


def test_one_colour_everywhere_explains_flat_frames_alone(street) -> None:
    flat = np.full_like(street, 90)
    assert unexplained(flat, flat) == pytest.approx(0, abs=1e-6)
    assert unexplained(street, flat).mean() > 0.5


def test_the_rest_is_a_share_of_what_other_drawings_leave(street) -> None:
    others = [street[::-1], street[:, ::-1]]
    alike = cv2.GaussianBlur(street, (0, 0), 3)
    left = [unexplained(street, each).mean() for each in (alike, *others)]
    found = rest(street, unexplained(street, alike), others)
    assert found == pytest.approx(left[0] / np.mean(left[1:]))
    assert 0 < found < 0.5
    flat = np.full_like(street, 90)
    assert rest(flat, unexplained(flat, flat), [flat]) == pytest.approx(0, abs=1e-6)


def test_the_score_is_in_standard_deviations_of_usual_frames(checked, street) -> None:
    drawn = street[::-1]
    cells = unexplained(street, drawn)
    above = rest(street, cells, other_drawings(checked)) - 0.25
    found = SelfCheck(checked, 0.25, 0.125)(street, drawn)
    assert found.score == pytest.approx(above / 0.125)
    assert np.array_equal(found.map, cells)
    # Frames as alike as an export's may be: not everything else is beyond measure.
    assert SelfCheck(checked, above + 0.24, 0)(street, drawn).score < UNUSUAL


def test_other_drawings_are_the_golden_frames_as_small_as_they_are_compared(kit, tmp_path) -> None:
    images = [kit.random_image(seed, 256, 512) for seed in range(5)]
    golden = [Golden(image, true_labels(image)) for image in images]
    others = {"reconstructor.onnx": kit.drawing(None)}
    found = other_drawings(kit.make_bundle(tmp_path / "b", golden=golden, others=others))
    assert [each.shape for each in found] == [(128, 256, 3)] * 4
    drawn = true_image(true_labels(images[3]))
    assert (
        np.abs(
            found[3].astype(int) - cv2.resize(drawn, (256, 128), interpolation=cv2.INTER_AREA)
        ).max()
        <= 1
    )


def test_only_a_bundle_with_reconstructor_and_measured_frames_has_one(tiny, drawn, checked) -> None:
    assert self_check_of(tiny) is None
    assert self_check_of(drawn) is None
    assert self_check_of(replace(checked, files=tiny.files)) is None
    found = self_check_of(checked)
    assert found is not None
    assert (found.mean, found.std) == (0.25, 0.125)


def test_wrong_labels_are_seen(checked, street) -> None:
    check = self_check_of(checked)
    assert check is not None
    right = check(street, true_image(true_labels(street)))
    wrong = check(street, true_image(true_labels(street[::-1])))
    assert right.score < 0 < UNUSUAL < wrong.score
