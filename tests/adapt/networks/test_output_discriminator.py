"""The discriminator against a hand-counted one."""

import pytest
import torch
from torch import nn

from adapt.networks.output_discriminator import OutputDiscriminator
from roadshift import UserError


@pytest.mark.parametrize(
    ("size", "scores"), [((32, 64), (1, 2)), ((128, 256), (4, 8)), ((100, 333), (3, 10))]
)
def test_one_score_a_patch(size: tuple[int, int], scores: tuple[int, int]) -> None:
    net = OutputDiscriminator(19, width=4)
    assert net(torch.rand(2, 19, *size)).shape == (2, 1, *scores)


def test_fewer_halvings_answer_for_smaller_patches() -> None:
    net = OutputDiscriminator(19, width=4, halvings=3)
    assert net(torch.rand(2, 19, 16, 40)).shape == (2, 1, 2, 5)
    with pytest.raises(UserError, match="needs at least 8x8"):
        net(torch.rand(1, 19, 4, 40))


def test_layers_are_the_published_ones() -> None:
    net = OutputDiscriminator(19)
    convs = [m for m in net if isinstance(m, nn.Conv2d)]
    assert [c.in_channels for c in convs] == [19, 64, 128, 256, 512]
    assert [c.out_channels for c in convs] == [64, 128, 256, 512, 1]
    assert {(c.kernel_size, c.stride, c.padding) for c in convs} == {((4, 4), (2, 2), (1, 1))}
    others = [m for m in net if not isinstance(m, nn.Conv2d)]
    assert len(others) == 4
    assert all(isinstance(m, nn.LeakyReLU) and m.negative_slope == 0.2 for m in others)


def test_too_small_a_map_is_explained() -> None:
    with pytest.raises(UserError, match=r"got a 16x64 map and needs at least 32x32; give a --crop"):
        OutputDiscriminator(5, width=4)(torch.rand(1, 5, 16, 64))
