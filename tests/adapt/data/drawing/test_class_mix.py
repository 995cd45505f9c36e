"""Half of a source image's classes over a target image that has labels."""

import torch
from tiny_batch import tiny_batch

from adapt.data.drawing.class_mix import class_mixed, half_of_classes


def test_half_of_the_classes_rounded_up_each_whole_and_never_the_ignored() -> None:
    y = torch.tensor([[[0, 0, 1], [2, 255, 2]]], dtype=torch.uint8)
    seen = set[tuple[int, ...]]()
    for seed in range(20):
        torch.manual_seed(seed)
        pasted = half_of_classes(y)
        chosen = {int(c) for c in y[pasted]}
        assert len(chosen) == 2
        assert 255 not in chosen
        assert all(bool(pasted[y == c].all()) for c in chosen)
        seen.add(tuple(sorted(chosen)))
    assert len(seen) == 3


def test_images_of_one_batch_draw_their_own_classes() -> None:
    torch.manual_seed(0)
    pasted = half_of_classes(torch.arange(8, dtype=torch.uint8).view(1, 2, 4).repeat(16, 1, 1))
    assert len(torch.unique(pasted, dim=0)) > 4
    assert all(int(p.sum()) == 4 for p in pasted)


def test_pixels_come_with_their_labels_on_target_images_that_have_any() -> None:
    torch.manual_seed(0)
    batch = tiny_batch()
    y_t = batch.y_t.clone()
    y_t[:2, :, 64:] = 3
    mixed = class_mixed(batch._replace(y_t=y_t))
    pasted = (mixed.x_t == batch.x_s).all(1) & (batch.x_s != batch.x_t).any(1)
    assert 0.1 < float(pasted[:2].float().mean()) < 0.9
    assert not pasted[2:].any()
    assert torch.equal(mixed.x_t, torch.where(pasted[:, None], batch.x_s, batch.x_t))
    assert torch.equal(mixed.y_t[pasted], batch.y_s[pasted])
    assert torch.equal(mixed.x_s, batch.x_s)
    assert torch.equal(mixed.y_t[2:], batch.y_t[2:])
