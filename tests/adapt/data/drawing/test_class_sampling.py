"""Rare classes are drawn often, from images that hold them, and a resumed run draws the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.data.datasets import labelled
from adapt.data.drawing import class_sampling
from adapt.data.drawing.class_sampling import RareClasses
from adapt.data.drawing.draws import make_draws
from adapt.run import Run


def test_the_odds_by_hand() -> None:
    """Shares of 0.6 and 0.4 over two images: exp(0.4 / T) to exp(0.6 / T)."""
    shares = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0]])
    found = RareClasses.from_shares(shares)
    ratio = np.exp((0.4 - 0.6) / class_sampling.TEMPERATURE)
    assert found.odds == pytest.approx([ratio / (1 + ratio), 1 / (1 + ratio), 0.0])
    assert [h.tolist() for h in found.holders] == [[0, 1], [0, 1], []]


def test_an_image_must_hold_enough_where_any_does() -> None:
    shares = np.array([[0.999, 0.001, 0.0], [0.98, 0.02, 0.0], [0.9999, 0.0, 0.0001]])
    holders = RareClasses.from_shares(shares).holders
    assert [h.tolist() for h in holders] == [[0, 1, 2], [1], [2]]
    torch.manual_seed(0)
    drawn = [RareClasses.from_shares(shares).draw() for _ in range(200)]
    assert set(drawn) <= {1, 2}  # of the two rare classes, always an image that holds one


def test_classes_are_counted_once_and_draws_are_the_same(
    tiny_source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = Run(source=tiny_source, target="", out=tmp_path, sample_rare=True, crop="32x48")
    data = labelled(tiny_source)
    first = make_draws(run, data, None)
    (kept,) = tmp_path.rglob("*.classes.json")
    monkeypatch.setattr(class_sampling, "track", None)  # would be called to count again
    again = make_draws(run, data, None)
    assert all(torch.equal(first[k].x_s, again[k].x_s) for k in (0, 7, 100))
    assert kept.stat().st_size > 0
    plain = make_draws(Run(source=tiny_source, target="", out=tmp_path, crop="32x48"), data, None)
    assert any(not torch.equal(first[k].x_s, plain[k].x_s) for k in range(5))
