"""A trained run becomes a bundle, or the reason is given why it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapt.checkpoint import SavedRun
from export import reconstructor, redraw
from export.bundle import (
    RECONSTRUCTOR,
    REPORT,
    SEGMENTOR,
    Bundle,
    check_destination,
    write_bundle,
)
from export.frames import Frames, Pixels, Size
from export.graph import Deployed, smallest_size, to_onnx
from export.onnx_file import OPSET
from export.provenance import plain, provenance
from export.redraw import Redrawing
from export.report import report
from export.verify import OnnxRuntime, Subject, golden_frames, no_one, sizes_to_check, verify
from roadshift import Failure, UserError


def make_bundle(saved: SavedRun, frames: Frames, out: Path, *, size: Size | None) -> Bundle:
    """Exports, verifies on `frames` and writes; `size` (height, width) or None for every size.

    Raises UserError for a size or frames that do not fit, Failure when a graph is not its network
    or the disk is full; what was at `out` before is then as it was.
    """
    check_destination(out)
    info, smallest = saved.info, _smallest(saved)
    sizes = (size,) if size else sizes_to_check(_native(frames, smallest), smallest)
    facts = provenance(saved.segmentor, info)
    about = {"classes": info.classes, "palette": info.palette, "provenance": facts}
    deployed = Deployed(saved.segmentor, info.work_size).eval()
    contents = {SEGMENTOR: to_onnx(deployed, size, about).SerializeToString()}
    subject = Subject(segmentor=saved.segmentor, work_size=info.work_size, classes=info.classes)
    golden = golden_frames(subject, frames, size)
    redrawing, rebuilt = None, list[Pixels]()
    if saved.reconstructor is not None:
        contents[RECONSTRUCTOR], redrawing = _exported_reconstructor(saved, size, about)
        rebuilt = redrawing.golden([frame.labels for frame in golden])
    seen, runner = redrawing.add if redrawing else no_one, OnnxRuntime(contents[SEGMENTOR])
    verification = verify(subject, runner, frames, sizes, golden, seen)
    if reasons := (*verification.reasons, *(redrawing.reasons if redrawing else ())):
        raise Failure(refusal(reasons, frames.spec, out))
    checks = verification.values() | ({"reconstructor": redrawing.values()} if redrawing else {})
    bundle = Bundle(
        folder=out,
        name=_name(out),
        classes=info.classes,
        palette=info.palette,
        size=size,
        min_size=size or smallest,
        precision="fp32",
        opset=OPSET,
        provenance=facts,
        scores=plain(info.scores),
        checks=plain(checks),
        files={},
    )
    contents[REPORT] = report(bundle, verification, redrawing).encode()
    return write_bundle(bundle, contents, golden, rebuilt)


def refusal(reasons: Sequence[str], spec: str, out: Path) -> str:
    """The one sentence, with the numbers, for a graph that is not its network."""
    first = "; ".join(reasons[:3])
    rest = len(reasons) - 3
    more = f"; and {rest} more" if rest > 0 else ""
    return (
        f"the exported graph does not agree with its network on {spec}: {first}{more}."
        f" No bundle was written, {out} is as it was; try --size HxW, or another version of torch"
    )


def _smallest(saved: SavedRun) -> Size:
    """The smallest (height, width) that both graphs take."""
    smallest = smallest_size(saved.segmentor, saved.info.work_size)
    if saved.reconstructor is None:
        return smallest
    drawn = reconstructor.smallest_size(saved.reconstructor, saved.info.work_size)
    return max(smallest[0], drawn[0]), max(smallest[1], drawn[1])


def _native(frames: Frames, smallest: Size) -> Size:
    """The size of the first frame."""
    size = frames.read(0).size
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise UserError(
            f"the frames of {frames.spec} are {size[0]}x{size[1]} and this network takes them from "
            f"{smallest[0]}x{smallest[1]} on: give --frames with larger ones, or --size HxW"
        )
    return size


def _name(out: Path) -> str:
    """The folder's name, of letters that an address can hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).strip(".-_") or "segmentor"


def _exported_reconstructor(
    saved: SavedRun, size: Size | None, about: dict[str, Any]
) -> tuple[bytes, Redrawing]:
    """The reconstructor's graph, and what compares it with the network."""
    assert saved.reconstructor is not None
    module = reconstructor.Rebuilding(saved.reconstructor, saved.info.work_size).eval()
    graph = reconstructor.to_onnx(module, size, about).SerializeToString()
    return graph, Redrawing(module, redraw.OnnxRuntime(graph))
