"""The bundle: its format, read without torch by everybody, and nothing that makes one."""

from export.bundle.bundle import Bundle, read_bundle
from export.bundle.golden import Golden, GoldenDrawn
from export.bundle.graphs import PRECISIONS, RECONSTRUCTOR, SEGMENTOR, TRANSLATOR, GraphSpec
from export.bundle.trust import ANY, SIGNATURE, Trust
from export.bundle.write import check_destination, write_bundle

__all__ = [
    "ANY",
    "PRECISIONS",
    "RECONSTRUCTOR",
    "SEGMENTOR",
    "SIGNATURE",
    "TRANSLATOR",
    "Bundle",
    "Golden",
    "GoldenDrawn",
    "GraphSpec",
    "Trust",
    "check_destination",
    "read_bundle",
    "write_bundle",
]
