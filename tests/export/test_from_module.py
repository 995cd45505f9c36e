"""Networks that were not trained here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.segmentation import LRASPP

import export
from adapt.networks.segmentor import Normalise
from export import make
from export.from_module import Options, colours
from roadshift import UserError
from serve.runtime.engine import Engine

CLASSES = ("road", "car", "sky")


def net(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, channels, 3, 2, 1)
    ).eval()


def by_hand(module: nn.Module, image: np.ndarray, normalise: Normalise) -> np.ndarray:
    """As its user would: bytes to labels, the logits upsampled bilinearly."""
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = module(normalise(x))
        full = nn.functional.interpolate(logits, image.shape[:2], mode="bilinear")
    return full.argmax(1)[0].numpy()


def test_a_bundle_answers_as_the_module(tiny, tmp_path) -> None:
    module = net()
    bundle = export.bundle_from_module(
        module,
        classes=CLASSES,
        normalise="imagenet",
        frames=tiny.frames(),
        out=tmp_path / "b",
        options=Options(palette=((1, 2, 3), (4, 5, 6), (7, 8, 9))),
    )
    assert (bundle.classes, bundle.palette[1], bundle.route) == (CLASSES, (4, 5, 6), "exact")
    image = tiny.frames().read(2).image
    found = Engine(bundle, threads=1).segment(image[None]).labels[0]
    assert (found == by_hand(module, image, Normalise.imagenet())).mean() > 0.999
    assert len(np.unique(found)) > 1
    assert "A module of its own training, `Sequential`." in bundle.path("report.md").read_text()
    card = bundle.path("README.md").read_text()
    assert "`Sequential`, a module of its own training." in card
    assert "## Training" not in card


def test_a_torchvision_network_whose_logits_are_as_large_as_the_frame(tiny, tmp_path) -> None:
    torch.manual_seed(0)
    first = mobilenet_v3_small(weights=None).features[:3]  # with a block of each kind, and quick
    backbone = create_feature_extractor(first, {"1": "low", "2": "high"})
    module = LRASPP(backbone, low_channels=16, high_channels=24, num_classes=3)
    bundle = export.bundle_from_module(
        module,
        classes=CLASSES,
        normalise="imagenet",
        frames=tiny.frames(),
        out=tmp_path / "b",
        options=Options(work_size=(64, 96), size=(64, 96)),
    )
    assert (bundle.route, bundle.size) == ("dense", (64, 96))
    assert bundle.palette == tuple(colours(3)) == ((128, 0, 0), (0, 128, 0), (128, 128, 0))


def test_more_classes_than_bytes_are_refused_at_once(tiny, tmp_path) -> None:
    with pytest.raises(UserError, match=r"has 256 classes .*: at most 255"):
        export.bundle_from_module(
            net(256),
            classes=[f"class {i}" for i in range(256)],
            normalise=None,
            frames=tiny.frames(),
            out=tmp_path / "b",
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("classes", "palette", "message"),
    [
        (("road", "sky", "road"), None, r"are 'road', 'sky', 'road': wanted a name for each"),
        (("road", "", "sky"), None, "wanted a name for each"),
        (CLASSES, ((1, 2, 3),), "there are 1 colours for 3 classes: wanted one for each"),
    ],
)
def test_names_that_no_manifest_holds_are_refused_at_once(
    tiny, tmp_path, monkeypatch, classes, palette, message
) -> None:
    monkeypatch.setattr(make, "export_graphs", None)
    with pytest.raises(UserError, match=message):
        export.bundle_from_module(
            net(),
            classes=classes,
            normalise=None,
            frames=tiny.frames(),
            out=tmp_path / "b",
            options=Options(palette=palette),
        )


class Odd(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x.mean()]


@pytest.mark.parametrize(
    ("module", "normalise", "message"),
    [
        (net(4), None, "answers 4 channels and 3 classes were named: give one name a channel"),
        (Odd(), None, r"answers Tensor, wanted logits \[n,c,h,w\], or a dictionary"),
        (nn.Identity(), "vgg", "normalise is 'vgg': wanted imagenet, caffe"),
    ],
)
def test_a_module_of_another_kind(tiny, tmp_path, module, normalise, message) -> None:
    with pytest.raises(UserError, match=message):
        export.bundle_from_module(
            module,
            classes=CLASSES,
            normalise=normalise,
            frames=tiny.frames(),
            out=tmp_path / "b",
        )
    assert not list(tmp_path.iterdir())
