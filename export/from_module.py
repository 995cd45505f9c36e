"""The same verified bundle for a torch segmentor that was not trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from adapt.checkpoint import RunInfo, SavedRun
from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from export.bundle import Bundle
from export.frames import Frames, Size, frames_without_labels
from export.make import make_bundle
from export.precision.lower import Lowering
from roadshift import UserError

COUNT = 12
"""Frames of a data spec on which graph and module are compared, evenly spread."""


class Foreign(Segmentor):
    """Any module that makes logits of a picture, in the form of our own segmentors."""

    align_corners = False
    recipe = Recipe("sgd", 0.0, 1.0, 0.0)
    min_size = (32, 32)

    def __init__(self, net: nn.Module, normalise: Normalise | None, classes: int) -> None:
        super().__init__()
        self.net = net
        self.normalise = normalise or nn.Identity()
        self.classes = classes

    @property
    def backbone(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All of it."""
        return self.net

    def forward(self, x: Tensor) -> Segmented:
        """RGB in [0, 1] -> the module's logits; of a dictionary, as torchvision's, those in "out".

        Raises UserError for an answer of another form or another number of classes.
        """
        answer: Any = self.net(self.normalise(x))
        if isinstance(answer, Mapping) and "out" in answer:
            answer = cast(Any, answer)["out"]
        if isinstance(answer, tuple | list) and answer:
            answer = cast(Any, answer)[0]
        if not isinstance(answer, Tensor) or answer.ndim != 4:
            raise UserError(
                f"the module answers {type(answer).__name__}, wanted logits [n,c,h,w], or a "
                "dictionary with them as 'out': wrap it in a module that returns them"
            )
        if answer.shape[1] != self.classes:
            raise UserError(
                f"the module answers {answer.shape[1]} channels and {self.classes} classes were "
                "named: give one name a channel"
            )
        return Segmented(answer, answer)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What else can be said of a module.

    `palette` are RGB colours of the classes. The logits are upsampled to the frame bilinearly, with
    `align_corners`. `size` and `work_size` (height, width) fix the size of frames, and the size
    that they are resized to for the module. `lowering` adds lower precisions.
    """

    palette: Sequence[tuple[int, int, int]] | None = None
    align_corners: bool = False
    size: Size | None = None
    work_size: Size | None = None
    lowering: Lowering | None = None


def bundle_from_module(
    net: nn.Module,
    *,
    classes: Sequence[str],
    normalise: Normalise | str | None,
    frames: Frames | str,
    out: Path | str,
    options: Options = Options(),
) -> Bundle:
    """Exports, verifies and writes a bundle of `net`, as `roadshift export` does of a run.

    `net` takes RGB float32 [n,3,h,w] in [0, 1] after `normalise` ("imagenet", "caffe", a
    `Normalise`, or None for pictures in [0, 1]) and answers logits [n,c,hs,ws] of any resolution,
    one channel for each of `classes`. `frames` are the pictures on which graph and module are
    compared: a data spec, of which COUNT are taken, or `export.frames.Frames`. Raises like
    `export.make.make_bundle`, and UserError for a module whose answer is not logits of those
    classes.
    """
    segmentor = Foreign(net, _normalise(normalise), len(classes)).eval()
    segmentor.align_corners = options.align_corners  # pyright: ignore[reportAttributeAccessIssue]
    chosen = frames_without_labels(frames).spread(COUNT) if isinstance(frames, str) else frames
    height, width = options.work_size or options.size or chosen.read(0).size
    with torch.inference_mode():
        segmentor(
            torch.zeros(1, 3, height, width)
        )  # what it answers is refused here, not in a trace
    info = RunInfo(
        method="its own training",
        network=type(net).__name__,
        classes=tuple(classes),
        palette=tuple(options.palette or colours(len(classes))),
        source="",
        target="",
        work_size=options.work_size,
        commit="unknown",
        steps=0,
        seed=0,
        settings={},
        fingerprints={},
        versions={"torch": torch.__version__},
    )
    saved = SavedRun(segmentor, info, None)
    return make_bundle(saved, chosen, Path(out), size=options.size, lowering=options.lowering)


def colours(count: int) -> list[tuple[int, int, int]]:
    """RGB colours that differ: the bits of the class's number, high ones first (Pascal VOC's)."""
    found: list[tuple[int, int, int]] = []
    for i in range(1, count + 1):
        channels = [
            sum((i >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
            for channel in range(3)
        ]
        found.append((channels[0], channels[1], channels[2]))
    return found


def _normalise(given: Normalise | str | None) -> Normalise | None:
    if given is None or isinstance(given, Normalise):
        return given
    known = {"imagenet": Normalise.imagenet, "caffe": Normalise.caffe}
    if given not in known:
        raise UserError(
            f"normalise is {given!r}: wanted imagenet, caffe, a Normalise of your own, or None"
        )
    return known[given]()
