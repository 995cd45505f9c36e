"""A restyled crop has the other image's colours and its own content."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.data.datasets import labelled, unlabelled
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import make_draws
from adapt.data.drawing.style import moments, with_amplitudes, with_moments
from adapt.run import Run
from roadshift import UserError


def picture(seed: int, low: int, high: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (48, 64, 3), np.uint8)


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_statistics_become_the_other_images(space: str) -> None:
    own, other = picture(0, 20, 120), picture(1, 90, 220)
    moved = with_moments(own, moments(own, space), moments(other, space), space)  # pyright: ignore[reportArgumentType]
    found, wanted = moments(moved, space), moments(other, space)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(found.mean, wanted.mean, atol=2.5)
    np.testing.assert_allclose(found.deviation, wanted.deviation, rtol=0.1, atol=2)


def test_a_grey_wall_stays_one() -> None:
    wall, other = np.full((48, 64, 3), 120, np.uint8), picture(1, 0, 255)
    wall[0, 0] = 121
    moved = with_moments(wall, moments(wall, "rgb"), moments(other, "rgb"), "rgb")
    assert moved.std() < 1


def test_amplitudes_are_exchanged_within_the_window_and_phases_nowhere() -> None:
    waves = 30 * np.sin(np.arange(48) / 9)[:, None, None] + np.arange(64)[:, None] / 2
    own, other = picture(0, 100, 120), (picture(1, 60, 80) + waves).astype(np.uint8)
    moved = with_amplitudes(own, other, beta=0.05)  # b = 2
    of_own, of_other, of_moved = (np.fft.fft2(x.astype(float), axes=(0, 1))
                                  for x in (own, other, moved))  # fmt: skip
    inside, outside = np.ix_([0, 1, 2, -1, -2], [0, 1, 2, -1, -2]), np.ix_([3, 10], [3, 20])
    np.testing.assert_allclose(np.abs(of_moved[inside]), np.abs(of_other[inside]), atol=60)
    np.testing.assert_allclose(of_moved[outside], of_own[outside], atol=60)
    assert abs(moved.mean() - other.mean()) < 1


def test_with_beta_0_only_the_mean_is_exchanged() -> None:
    own, other = picture(0, 100, 120), picture(1, 60, 80)
    shift = other.mean((0, 1)) - own.mean((0, 1))
    np.testing.assert_allclose(with_amplitudes(own, other, 0.0), own + shift, atol=0.51)


def drawn(source: str, target: str | None, **more: object) -> Batch:
    settings: dict[str, object] = {
        "colour_jitter": 0.0,
        "flip": False,
        "workers": 0,
        "batch": 8,
        "steps": 1,
    }
    run = Run(source=source, target=target or "", out=Path(), **settings | more)  # pyright: ignore[reportArgumentType]
    images = unlabelled(target) if target else None
    return next(batches(make_draws(run, labelled(source), images), run, start=0, rank=0))


@pytest.mark.parametrize("kind", ["statistics", "fourier"])
def test_source_draws_take_the_targets_brightness_and_keep_their_labels(
    kind: str, tiny_source: str, tiny_target: str
) -> None:
    plain = drawn(tiny_source, tiny_target)
    styled = drawn(tiny_source, tiny_target, style=kind, style_share=1.0)
    half = drawn(tiny_source, tiny_target, style=kind, style_share=0.5)
    target = plain.x_t.float().mean()
    before, after = (abs(b.x_s.float().mean() - target) for b in (plain, styled))
    assert after < before / 2
    assert torch.equal(plain.y_s, styled.y_s)
    assert torch.equal(plain.x_t, drawn(tiny_source, tiny_target, style=kind, style_share=0.0).x_t)
    changed = [not torch.equal(a, b) for a, b in zip(plain.x_s, half.x_s, strict=True)]
    assert 0 < sum(changed) < 8


def test_style_needs_target_images_and_shares_in_range(tiny_source: str) -> None:
    with pytest.raises(UserError, match="--style fourier needs target images"):
        drawn(tiny_source, None, style="fourier")
    with pytest.raises(UserError, match=r"--style-share 1\.5"):
        drawn(tiny_source, None, style_share=1.5)
