from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from adapt.data.datasets import labelled, unlabelled
from adapt.data.drawing.augment import Augment
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.run import Run, uncoloured
from roadshift import UserError


def run_of(source: str, target: str, **more: object) -> Run:
    return Run(source=source, target=target, out=Path(), **{"workers": 0, "steps": 6} | more)


def test_draws_do_not_depend_on_where_one_starts_or_how_many_share(
    tiny_source: str, tiny_target: str
) -> None:
    run = run_of(tiny_source, tiny_target, batch=4, crop="24x48", scale=(1.0, 2.0))
    draws = make_draws(run, labelled(tiny_source), unlabelled(tiny_target))
    whole = list(batches(draws, run, start=0, rank=0))
    assert len(whole) == 6
    later = list(batches(draws, run, start=4, rank=0))
    for a, b in zip(whole[4:], later, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    shared = run_of(tiny_source, tiny_target, batch=4, devices=2, crop="24x48", scale=(1.0, 2.0))
    ranks = [list(batches(draws, shared, start=0, rank=r)) for r in (0, 1)]
    for step, batch in enumerate(whole):
        both = torch.cat([ranks[0][step].x_s, ranks[1][step].x_s])
        assert torch.equal(both, batch.x_s)


def test_every_image_is_drawn_once_before_any_twice(tiny_source: str, tiny_target: str) -> None:
    run = run_of(tiny_source, tiny_target, batch=8, steps=2, flip=False, colour_jitter=0.0)
    draws = make_draws(run, labelled(tiny_source), unlabelled(tiny_target))
    first, second = (b.x_s.flatten(1) for b in batches(draws, run, start=0, rank=0))
    assert len(torch.unique(first, dim=0)) == 8
    assert torch.equal(torch.unique(first, dim=0), torch.unique(second, dim=0))
    assert not torch.equal(first, second)


def test_batches_are_bytes_of_one_size(tiny_source: str, tiny_target: str) -> None:
    run = run_of(tiny_source, tiny_target, batch=2, source_size="48x96", size="40x80")
    draws = make_draws(run, labelled(tiny_source), unlabelled(tiny_target))
    x_s, y_s, x_t, y_t, *unasked = next(batches(draws, run, start=0, rank=0))
    assert x_s.dtype == y_s.dtype == x_t.dtype == y_t.dtype == torch.uint8
    assert x_s.shape == x_t.shape == (2, 3, 40, 80)
    assert y_s.shape == y_t.shape == (2, 40, 80)
    assert (y_t == 255).all()
    assert all(x.numel() == 0 for x in unasked)


def test_on_its_device_a_batch_is_floats_and_labels_stay_bytes() -> None:
    bytes_ = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    vector = torch.tensor([[0.25, 0.75]])
    batch = Batch(bytes_, bytes_[0], bytes_, bytes_[0], w_t=bytes_[0], v_t=vector)
    moved = batch.to(torch.device("cpu"))
    shares = torch.tensor([[0, 0.2], [0.4, 1]])
    for x in (moved.x_s[0, 0], moved.x_t[0, 0], moved.w_t[0]):
        assert torch.allclose(x, shares)
    assert moved.y_s.dtype == moved.y_t.dtype == torch.uint8
    assert torch.equal(moved.v_t, vector)
    assert moved.x_t_strong.numel() == moved.v_s.numel() == 0
    assert all(torch.equal(a, b) for a, b in zip(moved, moved.to(torch.device("cpu")), strict=True))


def test_a_city_that_is_not_drawn_leaves_empty_tensors(tiny_source: str, tiny_target: str) -> None:
    run = run_of(tiny_source, tiny_target, batch=2, workers=0)
    batch = next(batches(make_draws(run, labelled(tiny_source), None), run, start=0, rank=0))
    assert batch.x_s.shape == (2, 3, 32, 64)
    assert batch.x_t.numel() == batch.y_t.numel() == 0
    batch = next(batches(make_draws(run, None, unlabelled(tiny_target)), run, start=0, rank=0))
    assert batch.x_t.shape == (2, 3, 32, 64)
    assert batch.x_s.numel() == batch.y_s.numel() == 0


def test_pseudo_labels_move_with_their_images(tiny_target: str, tmp_path: Path) -> None:
    images = unlabelled(tiny_target)
    for i in range(len(images)):  # the red channel for a label: it must stay where it is
        cv2.imwrite(str(tmp_path / f"{i}.png"), images.image(i)[:, :, 0])
    target = PseudoLabelled(images, [tmp_path / f"{i}.png" for i in range(len(images))])
    run = run_of("", tiny_target, batch=4, colour_jitter=0.0, crop="24x40", workers=0)
    batch = next(batches(make_draws(run, None, target), run, start=0, rank=0))
    assert torch.equal(batch.x_t[:, 0], batch.y_t)


def test_a_missing_pseudo_label_is_named(tiny_target: str, tmp_path: Path) -> None:
    target = PseudoLabelled(unlabelled(tiny_target), [tmp_path / "gone.png"] * 8)
    with pytest.raises(UserError, match=r"gone\.png cannot be read"):
        target.label(0)


def test_image_and_label_move_together() -> None:
    """Every pixel's colour says its class, so it must still after any geometry."""
    label = (np.arange(64, dtype=np.uint8) // 16)[None].repeat(32, 0)
    image = np.repeat(label[:, :, None] * 50, 3, axis=2)
    augment = Augment(size=None, crop=(40, 40), scale=(1.0, 1.0))
    flipped = 0
    for seed in range(8):
        torch.manual_seed(seed)
        x, y = augment(image, label)
        assert x.shape == (40, 40, 3)
        inside = y != 255
        assert np.array_equal(x[inside, 0], y[inside] * 50)
        assert (x[~inside] == 0).all()
        assert int((~inside).sum()) > 0
        row = y[20][y[20] != 255].tolist()
        flipped += row[0] > row[-1]
    assert 0 < flipped < 8


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_labels_are_resized_without_new_ids(factor: float) -> None:
    label = np.where(np.arange(64) % 16 < 8, 3, 255).astype(np.uint8)[None].repeat(32, 0)
    augment = Augment(size=(40, 90), crop=(32, 64), scale=(factor, factor))
    torch.manual_seed(0)
    _, y = augment(np.zeros((32, 64, 3), np.uint8), label)
    assert set(np.unique(y).tolist()) == {3, 255}


def test_target_crops_come_in_pairs_for_teacher_and_student(
    tiny_source: str, tiny_target: str
) -> None:
    run = run_of(tiny_source, tiny_target, batch=2, crop="32x48", colour_jitter=0.5, blur=1.0)
    target = unlabelled(tiny_target)
    pair = next(batches(make_draws(run, None, target, strong=True), run, start=0, rank=0))
    plain = next(batches(make_draws(uncoloured(run), None, target), run, start=0, rank=0))
    assert torch.equal(pair.x_t, plain.x_t)  # weak: geometry alone
    assert pair.x_t_strong.shape == pair.x_t.shape
    assert (pair.x_t_strong.float() - pair.x_t.float()).abs().mean() > 3
    assert pair.x_t.is_contiguous(memory_format=torch.channels_last)


def test_confidence_travels_beside_pseudo_labels(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    images = unlabelled(tiny_target)
    files = [tmp_path / f"{i}.png" for i in range(2 * len(images))]
    for i, file in enumerate(files):
        label, confidence = np.indices((32, 64)).sum(0) % 4, np.indices((32, 64)).sum(0) % 4 * 60
        cv2.imwrite(str(file), (label if i < len(images) else confidence).astype(np.uint8))
    target = PseudoLabelled(images, files[: len(images)], files[len(images) :])
    run = run_of(tiny_source, tiny_target, batch=2, crop="32x48", scale=(1.0, 1.5))
    batch = next(batches(make_draws(run, None, target), run, start=0, rank=0))
    assert torch.equal(batch.w_t, 60 * batch.y_t)
    moved = batch.to(torch.device("cpu"))
    torch.testing.assert_close(moved.w_t, 60 * moved.y_t.float() / 255)
    assert batch.x_s.numel() == 0


def test_a_city_nobody_looks_at_is_not_loaded(
    tiny_source: str, tiny_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tiny_source, tiny_target, source_size="64x128", size="40x80")
    cities = labelled(tiny_source), unlabelled(tiny_target)
    both = make_draws(run, *cities)[3]
    draws = make_draws(run, *cities, cities=["source"])
    assert torch.equal(draws[3].x_s, both.x_s)  # the same crop, of the smaller size
    assert draws[3].x_t.numel() == 0
