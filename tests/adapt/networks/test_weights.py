"""Pretrained weights: every way in, and every way they can be wrong."""

import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2, resnet18

from adapt.networks import Segmentor, build
from adapt.networks.segmentors.fcn8s import FCN8sVGG16
from adapt.networks.weights import init_segmentor, read_weights
from roadshift import Failure, UserError


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """A state dict as torchvision has it, with other numbers in it."""
    torch.manual_seed(1)
    return mobilenet_v2(weights=None).state_dict()


@pytest.fixture
def net() -> Segmentor:
    return build("lraspp_mobilenet_v2", 5)


def first(net: Segmentor) -> Tensor:
    return net.backbone[0][0].weight


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_in_torchvisions_layout_fills_the_backbone(
    suffix: str, net: Segmentor, imagenet: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(imagenet, path) if suffix == ".safetensors" else torch.save(imagenet, path)
    assert init_segmentor(net, path) == 260
    own = net.backbone.state_dict()
    assert all(torch.equal(t, imagenet[f"features.{name}"]) for name, t in own.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_wrapped_half_precision_weights_load(
    wrapper: str, net: Segmentor, imagenet: dict[str, Tensor], tmp_path: Path
) -> None:
    half = {f"module.{n}": t.half() if t.is_floating_point() else t for n, t in imagenet.items()}
    torch.save({wrapper: half, "epoch": 3}, tmp_path / "half.pth")
    assert init_segmentor(net, str(tmp_path / "half.pth")) == 260
    dtypes = {t.dtype for t in read_weights(tmp_path / "half.pth").values()}
    assert dtypes == {torch.float32, torch.int64}
    assert torch.equal(first(net), imagenet["features.0.0.weight"].half().float())


def test_own_state_dict_and_old_files_without_counters_load(net: Segmentor) -> None:
    other = build("lraspp_mobilenet_v2", 7)
    state = {n: t for n, t in other.state_dict().items() if "num_batches" not in n}
    assert net.load_backbone(state) == 260
    assert torch.equal(first(net), first(other))


def test_none_leaves_the_network_alone(net: Segmentor) -> None:
    before = first(net).clone()
    assert init_segmentor(net, "none") == 0
    assert torch.equal(first(net), before)


def test_the_sample_imagenet_weights_load(net: Segmentor, shared_data: Path) -> None:
    path = shared_data / "weights/mobilenet_v2_imagenet.safetensors"
    assert init_segmentor(net, path) == 260
    # ImageNet's first filters are contrasts: far larger than the random start's.
    assert first(net).std() > 2 * first(build("lraspp_mobilenet_v2", 5)).std()
    assert net.eval()(torch.rand(1, 3, 64, 64)).logits.isfinite().all()


def test_weights_of_another_network_are_refused_untouched(net: Segmentor) -> None:
    before = first(net).clone()
    wanted = (
        "the weights fit 0 of 260 backbone tensors of LRASPPMobileNetV2: '0.0.weight' is missing, "
        "wanted shape (32, 3, 3, 3) (122 tensors were given, the first is 'conv1.weight'); "
        "give weights of this network"
    )
    with pytest.raises(UserError, match=re.escape(wanted)):
        net.load_backbone(resnet18(weights=None).state_dict())
    assert torch.equal(first(net), before)


def test_a_wider_network_is_refused_untouched(net: Segmentor) -> None:
    before = first(net).clone()
    wide = mobilenet_v2(weights=None, width_mult=1.4).state_dict()
    with pytest.raises(UserError, match=r"of 260 .*'0.0.weight' has shape \(48, 3, 3, 3\), wanted"):
        net.load_backbone(wide)
    assert torch.equal(first(net), before)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights file at .*/nothing.pth; give a .safetensors"):
        read_weights(tmp_path / "nothing.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_a_truncated_file_is_one_sentence(suffix: str, kept: int, tmp_path: Path) -> None:
    path, state = tmp_path / f"cut{suffix}", {"a": torch.rand(50, 50)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        UserError, match=rf"cut{suffix} \({kept} bytes\) cannot be read as"
    ) as found:
        read_weights(path)
    assert "\n" not in str(found.value)


def test_text_and_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("<html>404: not found</html>")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_weights(tmp_path / "text.pth")
    torch.save(mobilenet_v2(weights=None), tmp_path / "module.pth")
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_weights(tmp_path / "module.pth")


def test_files_without_tensors_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match=r"list.pth holds a list, wanted tensors by name"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(UserError, match=r"empty.pth holds no tensor \(1 entries\), wanted"):
        read_weights(tmp_path / "empty.pth")


def test_a_failed_download_says_what_to_pass(
    net: Segmentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    wanted = "could not be downloaded .*not known.*pass `--weights FILE` or `--weights none`"
    with pytest.raises(Failure, match=wanted):
        init_segmentor(net, "imagenet")


def test_imagenet_asks_torchvision_for_checked_weights(
    net: Segmentor, imagenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def online(url: str, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        asked.extend((url, progress, check_hash))
        return imagenet

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", online)
    assert init_segmentor(net, "imagenet") == 260
    assert asked == [MobileNet_V2_Weights.IMAGENET1K_V1.url, False, True]


def test_a_network_unknown_to_torchvision_says_what_to_pass() -> None:
    wanted = "no ImageNet weights for PIDNetS; pass `--weights FILE` or `--weights none`"
    with pytest.raises(UserError, match=wanted):
        init_segmentor(build("pidnet_s", 5), "imagenet")


def test_pidnet_takes_a_classifiers_checkpoint_but_not_half_a_stage() -> None:
    net, other = build("pidnet_s", 5), build("pidnet_s", 5).backbone.state_dict()
    assert net.load_backbone({f"model.{name}": t for name, t in other.items()}) == 440 - 73
    classifier = {n: t for n, t in other.items() if not n.startswith(net.optional)}
    assert set(classifier) < set(other)
    assert net.load_backbone(classifier) == sum("num_batches" not in n for n in classifier)
    with pytest.raises(UserError, match=r"of PIDNetS: 'layer4.2.bn2.bias' is missing"):
        net.load_backbone({n: t for n, t in classifier.items() if n != "layer4.2.bn2.bias"})
    with pytest.raises(UserError, match=r"'spp.shortcut.2.weight' has shape \(1,\)"):
        net.load_backbone(other | {"spp.shortcut.2.weight": torch.zeros(1)})


def test_vggs_classifier_becomes_convolutions() -> None:
    with torch.device("meta"):
        net = FCN8sVGG16(5)
        state = {
            "classifier.0.weight": torch.empty(4096, 25088),
            "classifier.3.weight": torch.empty(4096, 4096),
        }
    fc = net.translate(state)
    assert fc["classifier.0.weight"].shape == (4096, 512, 7, 7)
    assert fc["classifier.3.weight"].shape == (4096, 4096, 1, 1)
    # The file of features alone, or of another width, is left as it is and refused by its shape.
    assert net.translate({"classifier.0.weight": torch.empty(3)})["classifier.0.weight"].shape == (
        3,
    )
