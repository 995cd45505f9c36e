"""Every network leaves torch whole: one graph, right at sizes it was not traced at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from tracing import unchecked_types

from adapt.networks import SEGMENTORS, build
from adapt.networks.image_generator import Translator
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.translated import Translated
from export.bundle.graphs import SEGMENTOR
from export.graph.fold_normalisation import fold_normalisation
from export.graph.onnx_file import export_module, smallest_size
from export.graph.segmentor import OUTPUTS, Deployed, check_graph, to_onnx
from export.verification.inputs import Trial, sizes_to_check
from export.verification.reference import golden_frames
from export.verification.segmentor import Candidate, SegmentorSession, verify

pytestmark = pytest.mark.slow


class Whole(Deployed):
    """The deployed function that tells the auxiliary scores too."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        heard = []
        hook = self.segmentor.register_forward_hook(lambda _, __, answer: heard.append(answer.aux))
        answer = super().forward(image)
        hook.remove()
        return (*answer, heard[0])


def uneven(name: str, classes: int) -> Segmentor:
    """No statistic at its neutral value and no score at zero: a part that is lost shows."""
    torch.manual_seed(0)
    net = build(name, classes)
    if name == "fcn8s_vgg16":  # fc6 and fc7 are half a gigabyte, and any width of them is one graph
        layers, width = net.backbone.classifier, 64
        layers[0], layers[3] = nn.Conv2d(512, width, 7), nn.Conv2d(width, width, 1)
        net.score_fc7 = nn.Conv2d(width, classes, 1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(1.0, 2.0)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.01)
    return net.eval()


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def pictures(n: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    noise[0, :, :2] = 255  # at the border the padding shows
    return noise


@pytest.fixture(scope="module", params=sorted(SEGMENTORS))
def exported(request, tiny) -> SimpleNamespace:
    """A network, its graph for every size, and that graph in a session."""
    net = uneven(request.param, len(tiny.classes))
    names = (SEGMENTOR.input, [*OUTPUTS, "aux"])
    with unchecked_types():
        model = export_module(Whole(net, None).eval(), None, SEGMENTOR.channels, names)
    return SimpleNamespace(net=net, model=model, session=session(model))


def test_onnx_equals_torch_at_other_sizes(exported) -> None:
    for n, height, width in ((2, 96, 65), (1, 32, 32), (1, 129, 130)):
        image = pictures(n, height, width)
        with torch.inference_mode():
            wanted = exported.net(torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255).heads
        answers = exported.session.run(["logits", "aux"], {"image": image})
        for answer, scores in zip(answers, wanted, strict=True):
            assert answer.shape == tuple(scores.shape)
            error = np.abs(answer - scores.numpy()).max()
            assert error <= 1e-4 * scores.abs().max().item()


def test_the_deployed_graph_is_folded(exported) -> None:
    folded = onnx.ModelProto()
    folded.CopyFrom(exported.model)
    del folded.graph.output[-1]  # the auxiliary scores are not deployed
    check_graph(folded, None)
    assert fold_normalisation(folded)
    check_graph(folded, None)
    image = pictures(2, 70, 90)
    (wanted,) = exported.session.run(["logits"], {"image": image})
    (found,) = session(folded).run(["logits"], {"image": image})
    assert np.ptp(wanted) > 0
    assert np.abs(wanted - found).max() < 1e-4 * np.ptp(wanted)


@pytest.fixture(scope="module")
def translated(tiny) -> SimpleNamespace:
    """A translator that changes what a network sees, and the graph of both for every size."""
    torch.manual_seed(0)
    translator = Translator(8, 2)
    nn.init.normal_(translator.generator.layers[-1].weight, std=0.5)
    net = Translated(translator, tiny.Centres()).eval()
    with unchecked_types():
        return SimpleNamespace(net=net, model=to_onnx(Deployed(net, None).eval(), None))


@pytest.mark.parametrize("exported", ["lraspp_mobilenet_v2", "pidnet_s"], indirect=True)
def test_it_is_verified_at_every_size(tiny, exported) -> None:
    verified(tiny, exported)


def test_behind_a_translator_it_is_verified_at_every_size(tiny, translated) -> None:
    verified(tiny, translated)


def verified(tiny, exported: SimpleNamespace) -> None:
    """Labels, confidence and logits are torch's by the check that every bundle must pass."""
    subject, frames = tiny.subject(exported.net), tiny.frames()
    sizes = sizes_to_check((45, 75), smallest_size(exported.net.min_size, None))
    runner = SegmentorSession(exported.model.SerializeToString())
    trial = Trial(frames=frames, sizes=sizes, golden=golden_frames(subject, frames, None))
    (result,) = verify(subject, [Candidate(precision="fp32", runner=runner)], trial)
    assert result.reasons == ()
    assert len(sizes) >= 3
