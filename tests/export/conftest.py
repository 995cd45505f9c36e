"""A network of two convolutions, a few smooth frames, and what is exported of them."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from adapt.checkpoint import RunInfo, SavedRun
from adapt.networks.image_generator import Reconstructor
from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from export.frames import Frame, Frames
from export.graph.segmentor import Deployed, to_onnx
from export.verification.reference import Subject

CLASSES = ("road", "car", "sky")


class Tiny(Segmentor):
    """Three classes at a quarter of the size."""

    align_corners = False
    recipe = Recipe("sgd", 1e-2, 1.0, 0.0)
    min_size = (16, 16)

    def __init__(self, normalise: Normalise | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.normalise = normalise or Normalise.imagenet()
        self.backbone = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Conv2d(8, len(CLASSES), 3, 2, 1)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.backbone(self.normalise(x)).relu()

    def forward(self, x: torch.Tensor) -> Segmented:
        z = self.features(x)
        return Segmented(4 * self.head(z), z[:, :3])


class TinyCorners(Tiny):
    align_corners = True


def _frame(i: int) -> Frame:
    rng = np.random.default_rng(i)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(small, (75, 45), interpolation=cv2.INTER_CUBIC)
    label = rng.integers(0, 4, (45, 75)).astype(np.uint8)
    label[label == 3] = 255
    return Frame(image, label)


def _saved(
    segmentor: Segmentor,
    work_size: tuple[int, int] | None = None,
    reconstructor: Reconstructor | None = None,
) -> SavedRun:
    info = RunInfo(
        method="source_only",
        network="tiny",
        classes=CLASSES,
        palette=((128, 64, 128), (0, 0, 142), (70, 130, 180)),
        source="toytown:game",
        target="toytown:camera",
        work_size=work_size,
        commit="0123456",
        steps=7,
        seed=3,
        settings={},
        fingerprints={"source": "aa", "target": "bb"},
        versions={"torch": "2"},
        scores={
            "toytown:camera#val": {
                "miou": 41.5,
                "images": 5,
                "iou": {"road": 83.0, "car": float("nan")},
            }
        },
    )
    return SavedRun(segmentor.eval(), info, reconstructor and reconstructor.eval())


def _reconstructor(seed: int = 0) -> Reconstructor:
    """A small one whose images are not all grey, as an untrained one's are."""
    torch.manual_seed(seed)
    reconstructor = Reconstructor(len(CLASSES), 4, 1)
    for p in reconstructor.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.1)
    return reconstructor.eval()


@pytest.fixture(scope="session")
def tiny():
    """The parts that tests make networks, runs, frames and graphs of."""

    def frames(count: int = 3, *, labelled: bool = False) -> Frames:
        def read(i: int) -> Frame:
            return _frame(i) if labelled else _frame(i)._replace(label=None)

        return Frames("folder:street", count, read, labelled)

    def graph(deployed: Deployed, size=None) -> bytes:
        return to_onnx(deployed.eval(), size).SerializeToString()

    def subject(segmentor: Segmentor, work_size=None) -> Subject:
        return Subject(segmentor=segmentor.eval(), work_size=work_size, classes=CLASSES)

    return SimpleNamespace(
        Centres=Tiny,
        Corners=TinyCorners,
        classes=CLASSES,
        frames=frames,
        saved=_saved,
        reconstructor=_reconstructor,
        graph=graph,
        subject=subject,
    )


@pytest.fixture(scope="session")
def centres(tiny) -> bytes:
    """The graph of a network with half-pixel centres, for every size."""
    return tiny.graph(Deployed(tiny.Centres(), None))


@pytest.fixture(scope="session")
def corners(tiny) -> bytes:
    """The graph of one with aligned corners that works at 24x40, for every size."""
    return tiny.graph(Deployed(tiny.Corners(), (24, 40)))


@pytest.fixture(scope="session")
def fixed(tiny) -> bytes:
    """The graph of one that works at 24x40, for frames of 33x47 only."""
    return tiny.graph(Deployed(tiny.Centres(), (24, 40)), (33, 47))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
