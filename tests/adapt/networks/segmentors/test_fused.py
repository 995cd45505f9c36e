"""Two segmentors as one: the mean of their probabilities, saved, read and exported as a run."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_city import TINY_CLASSES
from tiny_segmentor import TinySegmentor
from tracing import unchecked_types

from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.data.classes import palette_of
from adapt.networks import build
from adapt.networks.segmentors.fused import Fused
from export.graph.segmentor import Deployed, to_onnx


def test_a_run_of_two_segmentors_is_their_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = {f"segmentor_{x}": build("lraspp_mobilenet_v2", 4).eval() for x in "AB"}
    described = {role: {"kind": "lraspp_mobilenet_v2", "classes": 4} for role in parts}
    info = RunInfo(
        method="two", network="2 x lraspp_mobilenet_v2", classes=TINY_CLASSES,
        palette=palette_of(TINY_CLASSES), source="", target="", work_size=None, commit="",
        steps=1, seed=0, settings={}, fingerprints={}, versions={}, parts=described,
    )  # fmt: skip
    checkpoint.write_info(tmp_path, info)
    saved_state.save(tmp_path / "last.safetensors", parts, 1)
    fused = checkpoint.read(tmp_path).segmentor
    assert isinstance(fused, Fused)
    x = torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        p = torch.stack([net(x).logits.softmax(1) for net in parts.values()]).mean(0)
        torch.testing.assert_close(fused(x).logits.softmax(1), p)
        assert fused(x).aux.shape[1] == 4


@pytest.mark.parametrize("strides", [(4, 4), (4, 8)])
def test_two_segmentors_are_one_graph_for_every_size(strides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    fused = Fused([TinySegmentor(4, stride) for stride in strides]).eval()
    with unchecked_types():
        model = to_onnx(Deployed(fused, None).eval(), None)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for n, height, width in ((1, 96, 160), (2, 33, 47)):
        image = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)
        (logits,) = session.run(["logits"], {"image": image})
        with torch.no_grad():
            wanted = fused(torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255).logits
        assert np.abs(logits - wanted.numpy()).max() < 1e-3


def test_maps_of_another_size_are_resized_to_the_firsts() -> None:
    torch.manual_seed(0)
    coarse, fine = build("lraspp_mobilenet_v2", 3).eval(), build("pidnet_s", 3).eval()
    x = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        fused = Fused([coarse, fine]).eval()
        assert fused(x).logits.shape == coarse(x).logits.shape
        torch.testing.assert_close(fused(x).logits.softmax(1).sum(1), torch.ones(1, 8, 16))
    assert fused.min_size == tuple(map(max, coarse.min_size, fine.min_size))
