"""The perceptual network: the file's weights, frozen, or none at all; never random ones."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from adapt.networks.perceptual import Perceptual, read_perceptual
from roadshift import UserError


def test_without_a_file_there_is_none() -> None:
    assert read_perceptual("vgg19", "") is None
    assert read_perceptual("none", "some.pth") is None


def test_its_features_are_the_files_and_it_stays_frozen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = mobilenet_v2(weights=None).eval()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    V = read_perceptual("mobilenet_v2", str(tmp_path / "net.safetensors"))
    assert V is not None
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = V.train()(x)
        wanted = net.features[:14](V.normalise(x))
    assert [f.shape[2] for f in features] == [32, 16, 8, 4]
    assert torch.equal(features[-1], wanted)
    assert not any(module.training for module in V.modules())
    assert not any(p.requires_grad for p in V.parameters())


def test_another_networks_weights_are_named() -> None:
    with pytest.raises(UserError, match=r"not those of vgg19: features\.0\.weight is missing"):
        Perceptual("vgg19", {})
