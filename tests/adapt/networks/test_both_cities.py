"""Whose statistics the batch norms see, by the mode."""

from typing import get_args

import pytest
import torch

from adapt.networks import build
from adapt.networks.both_cities import TargetNorm, pass_both, running_statistics


def passed(norm: TargetNorm) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Module]:
    torch.manual_seed(0)
    net = build("lraspp_mobilenet_v2", 4).train()
    x_s, x_t = torch.rand(2, 3, 64, 64), 0.2 * torch.rand(2, 3, 64, 64)
    out_s, out_t = pass_both(net, x_s, x_t, norm)
    return out_s.logits, out_t.logits, net


def test_every_mode_gives_both_cities_logits_of_their_own() -> None:
    found = {norm: passed(norm)[:2] for norm in get_args(TargetNorm)}
    for z_s, z_t in found.values():
        assert z_s.shape == z_t.shape == (2, 4, 8, 8)
        assert z_s.requires_grad
        assert z_t.requires_grad
    assert torch.equal(found["separate"][0], found["source"][0])
    assert not torch.allclose(found["joint"][0], found["separate"][0], atol=1e-3)
    assert not torch.allclose(found["source"][1], found["separate"][1], atol=1e-3)


@pytest.mark.parametrize(("norm", "moves"), [("source", 1), ("joint", 1), ("separate", 2)])
def test_running_statistics_move_once_a_pass_in_train_mode(norm: TargetNorm, moves: int) -> None:
    net = passed(norm)[2]
    counted = {int(b) for name, b in net.named_buffers() if name.endswith("num_batches_tracked")}
    assert counted == {moves}
    assert all(m.training for m in net.modules())


def test_a_norm_that_was_frozen_stays_so() -> None:
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3))
    net[0].eval()
    with running_statistics(net):
        assert not net[1].training
    assert [layer.training for layer in net] == [False, True]
