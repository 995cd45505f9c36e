"""A small network with all that lower precisions must get right, its graph and a few frames."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from export.graph.segmentor import Deployed, to_onnx


class Small(Segmentor):
    """Convolution, residual block, pooling and gate, transposed convolution, two last layers."""

    align_corners = False
    recipe = Recipe("sgd", 1e-2, 1.0, 0.0)
    min_size = (16, 16)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.normalise = Normalise.imagenet()
        self.backbone = nn.ModuleDict(
            {
                "stem": nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
                "block": nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)),
                "norm": nn.BatchNorm2d(8),
                "gate": nn.Conv2d(8, 8, 1),
                "up": nn.ConvTranspose2d(8, 12, 2, 2),
                "mix": nn.Conv2d(12, 12, 3, 1, 1),
            }
        )
        self.head = nn.ModuleDict({"low": nn.Conv2d(8, 4, 1), "high": nn.Conv2d(12, 4, 1)})
        for p in self.parameters():
            nn.init.normal_(p, std=0.35 if p.ndim > 1 else 0.1)
        for norm in (self.backbone["stem"][1], self.backbone["norm"]):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)

    def forward(self, x: torch.Tensor) -> Segmented:
        parts = self.backbone
        a = parts["stem"](self.normalise(x))
        b = (a + parts["block"](a)).relu()
        b = parts["norm"](b).relu()
        gate = parts["gate"](b.mean((2, 3), keepdim=True)).sigmoid()
        c = parts["mix"](parts["up"](b * gate).clamp(0, 6)).relu()
        low = interpolate(self.head["low"](b), size=c.shape[2:], mode="bilinear")
        return Segmented(low + self.head["high"](c), None)


def _frame(i: int, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    small = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def _run(model: onnx.ModelProto, frames: list[np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    given = {session.get_inputs()[0].name: np.stack(frames)}
    return dict(zip(names, session.run(names, given), strict=True))


@pytest.fixture(scope="session")
def graph() -> onnx.ModelProto:
    """The graph of `Small` for every size; do not change it."""
    return to_onnx(Deployed(Small().eval(), None), None)


@pytest.fixture(scope="session")
def street() -> SimpleNamespace:
    """`frame(i, size)` draws a smooth picture, `run(model, frames)` gives the outputs by name."""
    return SimpleNamespace(frame=_frame, run=_run, frames=[_frame(i) for i in range(4)])
