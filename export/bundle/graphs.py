"""What the files of a bundle are called."""

from __future__ import annotations

from roadshift import unknown

PRECISIONS = ("fp32", "fp16", "int8")
"""In which a segmentor's graph may be there; every bundle has the first."""
SEGMENTOR = "segmentor.onnx"
RECONSTRUCTOR = "reconstructor.onnx"
TRANSLATOR = "translator.onnx"
REPORT = "report.md"
PAGE = "report.html"
GRAPHS = {
    "segmentor": ("labels", (3,)),
    "reconstructor": ("image", ()),
    "translator": ("translated", (3,)),
}
"""What each graph answers, and what the shape of its input has after [n,h,w]."""
LOGITS = "logits"


def segmentor_file(precision: str) -> str:
    """The file of the segmentor in that precision; UserError for one that is not known."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    return SEGMENTOR if precision == "fp32" else f"segmentor.{precision}.onnx"
