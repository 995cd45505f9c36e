"""The float32 graphs of a run, and the golden frames with what torch makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from adapt.checkpoint import SavedRun
from export.bundle import Golden
from export.bundle.graphs import SEGMENTOR
from export.frames import Frames, Pixels, Size
from export.graph import image_graph, reconstructor, translator
from export.graph.fold_normalisation import fold_normalisation
from export.graph.image_graph import ImageModule
from export.graph.onnx_file import describe, smallest_size
from export.graph.segmentor import Deployed, check_graph, to_onnx
from export.provenance import provenance
from export.verification.drawings import DrawingSession, Redrawing
from export.verification.inputs import sizes_to_check
from export.verification.reference import Subject, golden_frames
from export.verification.segmentor import SegmentorSession
from roadshift import UserError, hxw

DRAWINGS = (reconstructor.of_run, translator.of_run)
"""What makes the graphs that draw of a run, in the order of the table in export.bundle.graphs."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The graphs in fp32 and what they are compared with; `contents` are the files."""

    subject: Subject
    model: onnx.ModelProto
    contents: dict[str, bytes]
    facts: dict[str, Any]
    size: Size | None
    smallest: Size
    golden: list[Golden]
    redrawings: list[Redrawing]
    drawn: dict[str, list[Pixels]]

    @property
    def route(self) -> str:
        """ "exact" where the logits are so much smaller than the frame that the shortcut pays."""
        image = self.golden[0].image
        logits = SegmentorSession(self.contents[SEGMENTOR.file])(image[None]).logits
        return "exact" if 4 * logits[0, 0].numel() <= image[..., 0].size else "dense"


def export_graphs(saved: SavedRun, frames: Frames, size: Size | None) -> Exported:
    """Every network of the run as a graph, and the golden frames that `frames` give.

    Raises UserError for a size or frames that do not fit, Failure when torch cannot export.
    """
    info = saved.info
    drawings = _drawings(saved)
    smallest = _smallest(saved, drawings)
    if size is None:
        _native(frames, smallest)
    facts = provenance(saved.segmentor, info)
    about = {"classes": info.classes, "palette": info.palette, "provenance": facts}
    model = to_onnx(Deployed(saved.segmentor, info.work_size).eval(), size)
    facts["normalisation_folded"] = fold_normalisation(model)
    check_graph(model, size)
    describe(model, about)
    subject = Subject(segmentor=saved.segmentor, work_size=info.work_size, classes=info.classes)
    other = None if size else sizes_to_check(frames.read(0).size, smallest)[1:2]
    golden = golden_frames(subject, frames, size, other[0] if other else None)
    contents, redrawings = {SEGMENTOR.file: model.SerializeToString()}, list[Redrawing]()
    drawn: dict[str, list[Pixels]] = {}
    for one in drawings:
        drawing_model = image_graph.to_onnx(one, size)
        describe(drawing_model, about)
        contents[one.spec.file] = drawing_model.SerializeToString()
        redrawing = Redrawing(one, DrawingSession(contents[one.spec.file], one))
        drawn[one.spec.golden] = redrawing.golden([given(one, g.image, g.labels) for g in golden])
        redrawings.append(redrawing)
    return Exported(
        subject=subject,
        model=model,
        contents=contents,
        facts=facts,
        size=size,
        smallest=smallest,
        golden=golden,
        redrawings=redrawings,
        drawn=drawn,
    )


def given(one: ImageModule, image: Pixels, labels: Pixels) -> Pixels:
    """What the graph is given of a frame: its labels, or the frame itself."""
    return image if one.spec.channels else labels


def _drawings(saved: SavedRun) -> list[ImageModule]:
    """The networks of the run that draw."""
    return [one for of_run in DRAWINGS if (one := of_run(saved)) is not None]


def _smallest(saved: SavedRun, drawings: Sequence[ImageModule]) -> Size:
    """The smallest (height, width) that all graphs take."""
    own = smallest_size(saved.segmentor.min_size, saved.info.work_size)
    sizes = [own, *(d.smallest for d in drawings)]
    return max(h for h, _ in sizes), max(w for _, w in sizes)


def _native(frames: Frames, smallest: Size) -> None:
    """UserError unless the first frame is large enough."""
    size = frames.read(0).size
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise UserError(
            f"the frames of {frames.spec} are {hxw(size)} and this network takes them from "
            f"{hxw(smallest)} on: give --frames with larger ones, or --size HxW"
        )
