from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph.image_graph import to_onnx
from export.graph.onnx_file import OPSET
from export.graph.reconstructor import DeployedReconstructor, drawing
from roadshift import UserError


def run(graph: bytes, labels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"labels": labels})[0]


def maps(*shape: int) -> np.ndarray:
    """Blocks of the three classes, of 255, and of 7, which is no class."""
    values = np.array([0, 1, 2, 255, 7], np.uint8)
    small = np.random.default_rng(1).integers(0, 5, (shape[0], 9, 9))
    y, x = (np.arange(n) * 9 // n for n in shape[1:])
    return values[small][:, y[:, None], x]


@pytest.mark.parametrize(
    ("work_size", "only"), [(None, None), ((48, 64), None), ((48, 64), (33, 47))]
)
def test_the_graph_draws_what_the_module_draws(tiny, work_size, only) -> None:
    one = drawing(tiny.reconstructor(), work_size)
    graph = to_onnx(one, only).SerializeToString()
    for height, width in [only] if only else [(32, 32), (33, 47), (64, 128), (50, 39)]:
        for n in (1, 2, 3):
            labels = maps(n, height, width)
            image = run(graph, labels)
            wanted = one(labels)
            assert (image.shape, image.dtype) == ((n, height, width, 3), np.uint8)
            assert np.abs(image.astype(int) - wanted).max() <= 1
            assert wanted.std() > 5


def test_what_is_no_class_is_a_vector_of_zeros(tiny) -> None:
    """The network itself, given the vectors by hand; 255 and 7 come out alike."""
    reconstructor, labels = tiny.reconstructor(), maps(1, 40, 56)
    omega = np.stack([labels == c for c in range(3)], 1).astype(np.float32)
    assert (omega.sum(1) == 0).any()
    with torch.inference_mode():
        wanted = (reconstructor(torch.from_numpy(omega)) * 255).round()[0].permute(1, 2, 0)
        found = DeployedReconstructor(reconstructor, None)(torch.from_numpy(labels))
        same = DeployedReconstructor(reconstructor, None)(
            torch.from_numpy(np.where(labels == 7, 255, labels))
        )
    assert np.array_equal(found[0].numpy(), wanted.numpy())
    assert np.array_equal(found.numpy(), same.numpy())


def test_labels_are_resized_to_the_nearest_pixel(tiny) -> None:
    class Listening(torch.nn.Module):
        classes = 3
        heard = torch.zeros(0)

        def forward(self, omega: torch.Tensor) -> torch.Tensor:
            self.heard = omega
            return omega

    network, labels = Listening(), torch.from_numpy(maps(2, 97, 61))
    DeployedReconstructor(network, (40, 72))(labels)
    float_labels = labels[:, None].float()
    nearest = torch.nn.functional.interpolate(float_labels, (40, 72), mode="nearest-exact")
    assert torch.equal(network.heard.argmax(1)[nearest[:, 0] < 3], nearest[nearest < 3].long())
    assert torch.equal(network.heard.sum(1) == 1, nearest[:, 0] < 3)


def test_the_interface_is_as_promised(tiny) -> None:
    model = to_onnx(drawing(tiny.reconstructor(), None), None)
    (given,), (image,) = model.graph.input, model.graph.output

    def axes(value: onnx.ValueInfoProto) -> list[str | int]:
        dims = value.type.tensor_type.shape.dim
        return [d.dim_param or d.dim_value for d in dims]

    assert (given.name, axes(given)) == ("labels", ["n", "height", "width"])
    assert (image.name, axes(image)) == ("image", ["n", "height", "width", 3])
    assert {v.type.tensor_type.elem_type for v in (given, image)} == {onnx.TensorProto.UINT8}
    assert model.opset_import[0].version == OPSET == 18


def test_a_size_below_the_smallest(tiny) -> None:
    one = drawing(tiny.reconstructor(), None)
    assert one.smallest == (32, 32)
    assert drawing(tiny.reconstructor(), (64, 64)).smallest == (16, 16)
    with pytest.raises(UserError, match=r"--size is 31x64 and this reconstructor .* 32x32 on"):
        to_onnx(one, (31, 64))
