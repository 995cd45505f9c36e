"""One table of graphs: what a new row is enough for."""

import pytest

from export.bundle.graphs import GRAPHS, GraphSpec, drawing_graphs, segmentor_file
from export.export_graphs import DRAWINGS
from roadshift import UserError

DEPTH = GraphSpec(
    kind="depth", input="image", channels=(3,), outputs={"metres": "UINT8"}, golden="deep",
    measure="psnr", about="How far things are", does="measures",
)  # fmt: skip


def test_every_graph_that_draws_has_a_module() -> None:
    assert len(DRAWINGS) == len(drawing_graphs())


def test_names_follow_from_the_row() -> None:
    assert [g.file for g in GRAPHS.values()] == [f"{kind}.onnx" for kind in GRAPHS]
    assert GRAPHS["segmentor"].served_name("city") == "city"
    assert (DEPTH.file, DEPTH.output) == ("depth.onnx", "metres")
    assert DEPTH.served_name("city") == "city-depth"
    assert DEPTH.takes == "images"


def test_precisions_name_their_files() -> None:
    assert segmentor_file("int8") == "segmentor.int8.onnx"
    with pytest.raises(UserError, match="unknown precision 'int4'"):
        segmentor_file("int4")
