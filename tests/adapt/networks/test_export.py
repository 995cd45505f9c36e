"""Every network leaves torch whole: one graph, right at sizes it was not traced at."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from adapt.networks import build


class Both(nn.Module):
    """A segmentor's answer as the plain tuple that the exporter returns."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.net(x)
        return answer.logits, answer.aux


def uneven(net: nn.Module) -> nn.Module:
    """No statistic at its neutral value and no score at zero: a part that is lost shows."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(1.0, 2.0)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.01)
    return net.eval()


@pytest.mark.parametrize(
    "name",
    [
        "lraspp_mobilenet_v2",
        "pidnet_s",
        pytest.param("deeplabv2_resnet101", marks=pytest.mark.slow),
        pytest.param("fcn8s_vgg16", marks=pytest.mark.slow),
    ],
)
def test_onnx_equals_torch_at_other_sizes(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = uneven(build(name, 5))
    axes = {0: Dim("n"), 2: Dim("h", min=net.min_size[0]), 3: Dim("w", min=net.min_size[1])}
    program = torch.onnx.export(
        Both(net).eval(),
        (torch.rand(2, 3, 64, 96),),
        dynamo=True,
        opset_version=18,
        dynamic_shapes=(axes,),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    for n, height, width in ((2, 64, 96), (1, 32, 32), (1, 96, 65), (1, 129, 130)):
        x = torch.rand(n, 3, height, width)
        with torch.inference_mode():
            expected = net(x).heads
        answers = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        for answer, wanted in zip(answers, expected, strict=True):
            assert answer.shape == tuple(wanted.shape)
            error = np.abs(answer - wanted.numpy()).max()
            assert error <= 1e-4 * wanted.abs().max().item()
