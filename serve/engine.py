"""Arrays in, arrays out: a bundle's graph on ONNX Runtime, on exactly the device that was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from roadshift import Failure, UserError
from serve.sessions import Sessions

INPUT = "image"
WANTED = {(INPUT, "UINT8"), ("labels", "UINT8"), ("confidence", "UINT8"), ("logits", "FP32")}
DATATYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}


class Answer(NamedTuple):
    """Class ids, and where asked how sure they are (255: certain); both uint8 [n,h,w]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class TensorSpec(NamedTuple):
    """A tensor of the graph; -1 in the shape is a size that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Engine:
    """One bundle on one device; every method may be called from several threads at once.

    `provider` is "cpu", "cuda" or "tensorrt"; there is no falling back to another one. `threads`
    is the number of CPU threads one call uses (0: one a core). Raises Failure when the provider is
    not there or does not start, or the graph is not a segmentor's.
    """

    def __init__(self, bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> None:
        self.bundle = bundle
        self._sessions = Sessions(bundle, provider, threads)
        whole = self._sessions.whole
        self.inputs = tuple(map(_spec, whole.get_inputs()))
        self.outputs = tuple(map(_spec, whole.get_outputs()))
        found = {(spec.name, spec.datatype) for spec in (*self.inputs, *self.outputs)}
        if not (found >= WANTED and len(self.inputs) == 1):
            raise Failure(
                f"the graph of bundle {bundle.folder} has the tensors {_listing(found)}; "
                f"wanted {_listing(WANTED)}: export the run again"
            )

    def check(self, shape: Sequence[int]) -> None:
        """Raises UserError unless images of this shape ([n,h,w,3]) fit the bundle."""
        if len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
            raise UserError(f"wanted RGB images of shape [n,h,w,3], got {list(shape)}")
        size, (least_h, least_w) = (shape[1], shape[2]), self.bundle.min_size
        if self.bundle.size is not None and size != self.bundle.size:
            raise UserError(
                f"this bundle takes images of {_hxw(self.bundle.size)} (height x width) only, got "
                f"{_hxw(size)}: resize them, or export the run again with --size {_hxw(size)}"
            )
        if size[0] < least_h or size[1] < least_w:
            raise UserError(
                f"this bundle takes images from {least_h}x{least_w} (height x width) on, got "
                f"{_hxw(size)}: enlarge them"
            )
        if 0 < self.inputs[0].shape[0] != shape[0]:
            raise UserError(
                f"this bundle takes {self.inputs[0].shape[0]} image(s) at a time, got {shape[0]}"
            )

    def run(self, images: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for images uint8 [n,h,w,3]; what only the others need is not computed.

        Raises UserError for images that do not fit, Failure when the device gives up.
        """
        self.check(images.shape)
        session = self._sessions.giving(wanted)
        try:
            values = session.run(list(wanted), {INPUT: images})
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Failure(
                f"the engine failed on images of shape {list(images.shape)}: {error}"
            ) from error
        return dict(zip(wanted, values, strict=True))

    def segment(self, images: NDArray[np.uint8], *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3]; raises like `run`."""
        found = self.run(images, ["labels", "confidence"] if confidence else ["labels"])
        return Answer(found["labels"], found.get("confidence"))

    def check_golden(self) -> float:
        """The share (0..1) of equal pixels in the worst golden frame; Failure for too few."""
        worst = min(
            float(np.mean(self.segment(image[None]).labels[0] == labels))
            for image, labels in self.bundle.golden()
        )
        least = float(self.bundle.checks["min_agreement"])
        if worst < least:
            raise Failure(
                f"on this device bundle {self.bundle.name} gives {worst:.4%} of a golden frame's "
                f"labels; wanted {least:.4%}: use another provider, or export the run again here"
            )
        return worst


def _hxw(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _listing(tensors: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {datatype}" for name, datatype in sorted(tensors))


def _spec(value: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(value.name, DATATYPES.get(str(value.type), str(value.type)), shape)
