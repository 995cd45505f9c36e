"""What all segmentors promise, and what is special about each."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from adapt.networks import SEGMENTORS, build
from adapt.networks.segmentor import Normalise, Segmented, Segmentor
from adapt.networks.segmentors.deeplab_v2 import DeepLabV2ResNet101, SummedASPP
from adapt.networks.segmentors.fcn8s import BilinearUpsample, FCN8sVGG16, VGGTrunk
from adapt.networks.segmentors.lraspp import LRASPPMobileNetV2
from adapt.networks.segmentors.pidnet import PIDNetS
from roadshift import UserError


def on_meta(name: str, classes: int = 5) -> Segmentor:
    """A network without memory or arithmetic: shapes only."""
    with torch.device("meta"):
        return build(name, classes).eval()


def ceil(n: int, stride: int) -> int:
    return -(-n // stride)


@pytest.mark.parametrize("size", [(32, 64), (128, 256), (97, 203)])
@pytest.mark.parametrize("name", SEGMENTORS)
def test_logits_have_the_promised_strides(name: str, size: tuple[int, int]) -> None:
    logits, aux = on_meta(name)(torch.empty(2, 3, *size, device="meta")).heads
    strides = {"fcn8s_vgg16": (1, 16), "lraspp_mobilenet_v2": (8, 16)}.get(name, (8, 8))
    extra = [name.startswith("deeplab") and n % 8 == 0 for n in size]
    for output, stride in zip((logits, aux), strides, strict=True):
        hs, ws = (ceil(n, stride) + e for n, e in zip(size, extra, strict=True))
        assert output.shape == (2, 5, hs, ws)


@pytest.mark.parametrize("name", SEGMENTORS)
def test_the_last_features_of_the_backbone_come_with_the_logits(name: str) -> None:
    features = on_meta(name)(torch.empty(2, 3, 64, 128, device="meta")).features
    channels = {"fcn8s_vgg16": 4096, "lraspp_mobilenet_v2": 1280, "pidnet_s": 128}.get(name, 2048)
    assert features.shape[:2] == (2, channels)
    assert features.ndim == 4


@pytest.mark.parametrize("name", SEGMENTORS)
def test_its_logits_are_linear_in_what_its_last_layer_reads(name: str) -> None:
    """What a change of it does to them is the same for every image."""
    net = build(name, 2).eval()
    torch.manual_seed(0)
    for parameter in net.head_parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)

    def effect() -> list[torch.Tensor]:
        answer = net(torch.rand(1, 3, 64, 96))
        weights = torch.linspace(-1, 1, answer.logits.numel()).view_as(answer.logits)
        return list(torch.autograd.grad((answer.logits * weights).sum(), answer.pre_logits))

    first, second = effect(), effect()
    assert first
    assert all(z.abs().max() > 0 for z in first)
    torch.testing.assert_close(first, second)


def test_a_network_need_not_give_features() -> None:
    z = torch.zeros(1, 2, 3, 4)
    answer = Segmented(z, z)
    assert answer.heads == (z, z)
    assert answer.features.numel() == 0


@pytest.mark.parametrize("name", SEGMENTORS)
def test_parameter_groups_are_disjoint_and_complete(name: str) -> None:
    net = on_meta(name)
    backbone = {id(p) for p in net.backbone_parameters()}
    head = {id(p) for p in net.head_parameters()}
    assert backbone
    assert head
    assert not backbone & head
    assert backbone | head == {id(p) for p in net.parameters()}


def millions(net: nn.Module) -> float:
    return sum(p.numel() for p in net.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Deployed PIDNet-S has 7.62 M; ours carries the auxiliary head on P, 0.08 M, besides.
        ("pidnet_s", 7.62 + 0.08),
        # ResNet-101 without its classifier 42.5 M, the two classifiers 9 * 4 * (1024 + 2048) * 19.
        ("deeplabv2_resnet101", 42.50 + 2.10),
        # VGG-16 without its last layer 134.26 M, three scores (4096 + 512 + 256) * 19.
        ("fcn8s_vgg16", 134.26 + 0.09),
        # MobileNetV2 without its classifier 2.22 M.
        ("lraspp_mobilenet_v2", 2.22 + 0.33),
    ],
)
def test_parameter_counts(name: str, published: float) -> None:
    assert millions(on_meta(name, classes=19)) == pytest.approx(published, abs=0.011)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v2", "pidnet_s"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    net = build(name, 5)
    logits, aux = net(torch.rand(2, 3, 64, 96)).heads
    (logits.square().sum() + aux.square().sum()).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v2", "pidnet_s"])
def test_channels_last_changes_the_layout_and_not_the_answer(name: str) -> None:
    torch.manual_seed(0)
    net, x = build(name, 5).eval(), torch.rand(1, 3, 64, 96)
    expected = net(x).logits
    net = net.to(memory_format=torch.channels_last)
    answer = net(x.to(memory_format=torch.channels_last)).logits
    assert answer.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(answer, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_alignment_and_recipes_are_the_papers() -> None:
    assert DeepLabV2ResNet101.align_corners
    assert not any(n.align_corners for n in (FCN8sVGG16, LRASPPMobileNetV2, PIDNetS))
    recipe = DeepLabV2ResNet101.recipe
    assert recipe.lr == pytest.approx(2.5e-3)
    assert recipe.lr * recipe.backbone_scale == pytest.approx(2.5e-4)
    assert FCN8sVGG16.recipe.optimizer == "adam"
    assert FCN8sVGG16.recipe.lr == pytest.approx(1e-5)


def test_an_unknown_network_is_named_with_its_neighbour() -> None:
    with pytest.raises(UserError, match="unknown network 'pidnet': did you mean 'pidnet_s'"):
        build("pidnet", 5)


def test_normalise_by_hand() -> None:
    red = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    imagenet = Normalise.imagenet()(red).flatten()
    expected = [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    assert imagenet.tolist() == pytest.approx(expected, rel=1e-5)
    caffe = Normalise.caffe()(red).flatten()
    expected = [0 - 104.00698793, 127.5 - 116.66876762, 255 - 122.67891434]
    assert caffe.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_of_the_other_channel_order_is_refused() -> None:
    rgb, bgr = Normalise.imagenet(), Normalise.caffe()
    assert set(rgb.state_dict()) == {"mean", "std"}
    with pytest.raises(RuntimeError, match="order"):
        bgr.load_state_dict(rgb.state_dict())
    with pytest.raises(RuntimeError, match="order"):
        rgb.load_state_dict(bgr.state_dict())


def test_all_four_branches_of_the_aspp_count() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        head = DeepLabV2ResNet101(5).head
    assert [conv.dilation for conv in head.branches] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    head, x = SummedASPP(16, 5, (6, 12, 18, 24)), torch.randn(1, 16, 33, 40)
    assert 0.008 < head.branches[0].weight.std().item() < 0.012
    whole = head(x)
    assert torch.allclose(whole, sum(branch(x) for branch in head.branches), atol=1e-6)
    for branch in head.branches:
        kept = branch.weight.data.clone()
        branch.weight.data.zero_()
        assert not torch.allclose(head(x), whole)
        branch.weight.data = kept


def test_deeplab_keeps_stride_eight_by_dilation() -> None:
    with torch.device("meta"):
        backbone = DeepLabV2ResNet101(5).backbone
    assert backbone.maxpool.ceil_mode
    assert [backbone.layer3[1].conv2.dilation, backbone.layer4[1].conv2.dilation] == [
        (2, 2),
        (4, 4),
    ]
    assert [backbone.layer3[0].conv2.stride, backbone.layer4[0].conv2.stride] == [(1, 1), (1, 1)]
    # torchvision's layout: the stride of a stage is on its 3x3.
    assert [backbone.layer2[0].conv1.stride, backbone.layer2[0].conv2.stride] == [(1, 1), (2, 2)]


def test_bilinear_deconvolution_keeps_a_ramp_and_is_not_trained() -> None:
    up = BilinearUpsample(2)
    assert list(up.parameters()) == []
    assert up.kernel[0, 0, 0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]
    ramp = torch.arange(6.0).expand(1, 2, 6, 6)
    inside = up(ramp)[..., 2:-2, 2:-2]
    assert up(ramp).shape == (1, 2, 14, 14)
    assert torch.allclose(inside[0, 0, 0], torch.arange(10) / 2 + 0.25)


def test_fcn_starts_at_zero_scores_and_trains_no_deconvolution() -> None:
    with torch.device("meta"):
        net = FCN8sVGG16(5)
    assert not [n for n, _ in net.named_parameters() if n.startswith(("twice", "eight_times"))]
    assert not [*net.twice.parameters(), *net.eight_times.parameters()]
    assert net.backbone.features[0].padding == (100, 100)
    assert all(m.ceil_mode for m in net.backbone.modules() if isinstance(m, nn.MaxPool2d))
    scores = list(without_trunk(nn.Identity).parameters())
    assert len(scores) == 6
    assert not any(p.any() for p in scores)


def without_trunk(trunk: Callable[[float], nn.Module]) -> FCN8sVGG16:
    """A real FCN-8s around another trunk, VGG's being 537 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adapt.networks.segmentors.fcn8s.VGGTrunk", trunk)
        return FCN8sVGG16(1)


def test_fcn_logits_lie_where_the_pixels_are() -> None:
    """With a trunk that only averages, a bright spot of the image is one of the logits."""
    net = without_trunk(AveragingTrunk).eval()
    for score in (net.score_fc7, net.score_pool4, net.score_pool3):
        score.weight.data.fill_(1.0)
    net.normalise = nn.Identity()
    x = torch.zeros(1, 3, 128, 192)
    x[..., 60:68, 92:100] = 1.0
    logits, aux = net(x).heads
    for output, tolerance in ((logits, 4.0), (aux, 4.0)):
        mass = output.detach()[0, 0] / output.sum().item()
        scale = 128 / mass.shape[0]
        row = (mass.sum(1) * (torch.arange(mass.shape[0]) + 0.5)).sum().item() * scale
        column = (mass.sum(0) * (torch.arange(mass.shape[1]) + 0.5)).sum().item() * scale
        assert row == pytest.approx(64, abs=tolerance)
        assert column == pytest.approx(96, abs=tolerance)


class AveragingTrunk(nn.Module):
    """VGG-16's geometry with means in place of learned kernels: 31 layers, 5 ceil-mode halvings."""

    def __init__(self, _dropout: float) -> None:
        super().__init__()
        with torch.device("meta"):
            real = VGGTrunk(0.5).features
        self.features = nn.Sequential(*(self.mean_of(layer) for layer in real))
        self.classifier = nn.Sequential(nn.AvgPool2d(7, stride=1), Repeat(4096))

    @staticmethod
    def mean_of(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.MaxPool2d):
            return nn.Sequential(nn.AvgPool2d(2, ceil_mode=True))
        if isinstance(layer, nn.Conv2d):
            return nn.Sequential(
                nn.ZeroPad2d(layer.padding[0]),
                nn.AvgPool2d(3, stride=1),
                Repeat(layer.out_channels),
            )
        return nn.Identity()


class Repeat(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)


@pytest.mark.parametrize("name", ["layer3_.", "layer3_d.", "layer4.", "pag4.", "spp.", "diff4."])
def test_every_branch_of_pidnet_reaches_the_logits(name: str) -> None:
    torch.manual_seed(0)
    net, x = build("pidnet_s", 5).eval(), torch.rand(1, 3, 64, 64)
    before = net(x).logits
    for key, parameter in net.backbone.named_parameters():
        if key.startswith(name):
            parameter.data.mul_(0.5)
    assert not torch.allclose(net(x).logits, before, rtol=1e-3)


def test_pidnet_says_that_it_cannot_train_on_one_image() -> None:
    net = build("pidnet_s", 5)
    with pytest.raises(UserError, match=r"one image at a time.*--batch 2"):
        net(torch.rand(1, 3, 64, 64))
    assert net(torch.rand(2, 3, 64, 64)).logits.shape == (2, 5, 8, 8)


def test_lraspp_gives_what_torchvisions_head_gives() -> None:
    """Which resizes the context before its last convolution, and the logits the other way round."""
    torch.manual_seed(0)
    G = LRASPPMobileNetV2(5)  # normed by the batch: an untrained one gives zeros otherwise
    found = G(torch.rand(2, 3, 100, 164))
    wanted = G.head({"low": found.skips[0], "high": found.features})
    assert torch.allclose(found.logits, wanted, atol=1e-5)
    deep = wanted - G.head.low_classifier(found.skips[0])
    assert float(deep.detach().std((2, 3)).min()) > 0.01
