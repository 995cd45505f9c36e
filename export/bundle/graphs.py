"""The table of graphs that a bundle may hold, and what its other files are called.

A new graph is a row here, and a module in export/graph/ that makes it of a run's networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from roadshift import unknown

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
"""In which a segmentor's graph may be there; every bundle has the first."""
LOGITS = "logits"
REPORT = "report.md"
PAGE = "report.html"
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """One graph: its file, its tensors, its golden images, and how these are compared."""

    kind: str
    """In the served name and in the bundle's checks."""
    input: str
    """The one input, uint8 [n,h,w,*channels]."""
    channels: tuple[int, ...]
    """RGB, or none for labels."""
    outputs: Mapping[str, str]
    """Names and datatypes; the first is what the graph is for."""
    golden: str
    """golden/N.GOLDEN.png is what torch's network made of frame N, and what it does to it."""
    measure: Literal["agreement", "psnr"]
    """Equal labels (a share, 0..1), or how alike two images are (decibels)."""
    about: str
    """What it is for, for people."""
    does: str = ""
    """What it does to a golden image, for people."""

    @property
    def file(self) -> str:
        """In the bundle, in fp32."""
        return f"{self.kind}.onnx"

    @property
    def output(self) -> str:
        """The answer that it is for."""
        return next(iter(self.outputs))

    @property
    def draws(self) -> bool:
        """Whether the answer is an image."""
        return self.measure == "psnr"

    @property
    def takes(self) -> str:
        """What the input is, for people."""
        return "images" if self.channels else "label maps"

    def served_name(self, bundle: str) -> str:
        """What a server calls it: the segmentor has the bundle's own name."""
        return f"{bundle}-{self.kind}" if self.draws else bundle


SEGMENTOR = GraphSpec(
    kind="segmentor",
    input="image",
    channels=(3,),
    outputs={"labels": "UINT8", "confidence": "UINT8", LOGITS: "FP32"},
    golden="labels",
    measure="agreement",
    about="The class of every pixel of an image",
)
RECONSTRUCTOR = GraphSpec(
    kind="reconstructor",
    input="labels",
    channels=(),
    outputs={"image": "UINT8"},
    golden="rebuilt",
    measure="psnr",
    about="The image that a label map (labels, UINT8 [N,H,W]) stands for",
    does="rebuilds",
)
TRANSLATOR = GraphSpec(
    kind="translator",
    input="image",
    channels=(3,),
    outputs={"translated": "UINT8"},
    golden="translated",
    measure="psnr",
    about="The image (image, UINT8 [N,H,W,3], RGB) in the colours of the city it was trained on",
    does="translates",
)
GRAPHS = {graph.kind: graph for graph in (SEGMENTOR, RECONSTRUCTOR, TRANSLATOR)}
if TYPE_CHECKING:
    GraphKind = str
else:
    GraphKind = Literal[tuple(GRAPHS)]  # a command line's choices


def drawing_graphs() -> list[GraphSpec]:
    """Those whose answer is an image."""
    return [graph for graph in GRAPHS.values() if graph.draws]


def segmentor_file(precision: str) -> str:
    """The file of the segmentor in that precision; UserError for one that is not known."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    return SEGMENTOR.file if precision == "fp32" else f"{SEGMENTOR.kind}.{precision}.onnx"
