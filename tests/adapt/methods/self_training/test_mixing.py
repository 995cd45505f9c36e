"""Source classes over a target image, with their weights; blocks left out."""

import torch

from adapt.methods.self_training.mixing import Lesson, class_mix, masked


def test_pixels_come_with_their_labels_and_weights() -> None:
    y = torch.tensor([[[0, 1], [0, 1]]], dtype=torch.uint8)
    source = Lesson(torch.ones(1, 3, 2, 2), y, torch.ones(1, 2, 2))
    target = Lesson(torch.zeros(1, 3, 2, 2), y + 5, torch.full((1, 2, 2), 0.25))
    mixed = class_mix(source, target)
    pasted = mixed.x[:, 0] == 1
    assert int(pasted.sum()) == 2
    assert torch.equal(mixed.y, torch.where(pasted, y, y + 5))
    assert torch.equal(mixed.w, torch.where(pasted, 1.0, 0.25))


def test_blocks_are_left_out_whole_and_in_their_share() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 3, 60, 100)
    hidden = masked(x, 0.7, 16)
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    blocks = hidden[:, :, :48, :96].unfold(2, 16, 16).unfold(3, 16, 16)
    of_mean = (blocks == mean[:, :, :48, :96].unfold(2, 16, 16).unfold(3, 16, 16)).all(-1).all(-1)
    kept = (blocks == x[:, :, :48, :96].unfold(2, 16, 16).unfold(3, 16, 16)).all(-1).all(-1)
    assert bool((of_mean ^ kept).all())
    assert 0.6 < float(of_mean.float().mean()) < 0.8
    assert torch.equal(masked(x, 0.0, 16), x)
