"""Lower precisions of a run: made, judged, refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.bundle import read_bundle
from export.cli import export as cli
from export.cli.precision_options import Lower
from export.frames import Frames, calibration_frames
from export.make import make_bundle
from export.precision.budget import Budget, budget_reasons
from export.precision.lower import Lowering
from export.precision.search import BudgetError
from export.verification.inputs import Trial
from export.verification.segmentor import Candidate, SegmentorSession, verify
from roadshift import Failure, UserError
from serve.runtime.engine import Engine

BUDGET = Budget(max_miou_drop=5, max_class_drop=10, max_disagreement=8)


def lowering(frames: Frames, budget: Budget = BUDGET, **other) -> Lowering:
    precisions = other.pop("precisions", ("fp16", "int8"))
    return Lowering(precisions=precisions, calibration=frames, budget=budget, **other)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """A bundle in all precisions, and what was said while it was made."""
    said: list[str] = []
    bundle = make_bundle(
        tiny.saved(tiny.Centres()),
        tiny.frames(4, labelled=True),
        tmp_path_factory.mktemp("low") / "street",
        size=None,
        lowering=lowering(tiny.frames(6), always=True),
        say=said.append,
    )
    return bundle, said


def test_they_lie_beside_fp32_and_answer_nearly_the_same(made, tiny) -> None:
    bundle = read_bundle(made[0].folder)
    assert bundle.precisions == ("fp32", "fp16", "int8")
    image = tiny.frames(9).read(8).image
    labels = {
        p: Engine(bundle, threads=1, precision=p).segment(image[None]).labels
        for p in bundle.precisions
    }
    assert len(np.unique(labels["fp32"])) > 1
    assert (labels["fp32"] == labels["fp16"]).mean() > 0.99
    assert (labels["fp32"] == labels["int8"]).mean() > 0.9
    for precision in ("fp16", "int8"):
        checks = bundle.checks["precisions"][precision]
        assert checks["passed"]
        assert bundle.min_agreement(precision) <= checks["golden_agreement"]


@pytest.mark.parametrize(
    ("work_size", "size"), [((32, 48), None), (None, (40, 56))], ids=["a work size", "--size"]
)
def test_of_a_run_or_a_graph_of_one_size(tiny, tmp_path, work_size, size) -> None:
    """The host resizes for the one in every precision; frames and calibration fit the other."""
    bundle = make_bundle(
        tiny.saved(tiny.Centres(), work_size=work_size),
        tiny.frames(4, labelled=True),
        tmp_path / "street",
        size=size,
        lowering=lowering(tiny.frames(6)),
    )
    image = tiny.frames(9).read(8).resized(size or (64, 80)).image
    labels = [
        Engine(bundle, threads=1, precision=p).segment(image[None]).labels
        for p in bundle.precisions
    ]
    assert len(np.unique(labels[0])) > 1
    assert (labels[0] == labels[1]).mean() > 0.99
    assert (labels[0] == labels[2]).mean() > 0.9


def test_the_graphs_are_what_they_are_called(made) -> None:
    bundle, _ = made
    types = {
        p: {t.data_type for t in onnx.load(bundle.path(bundle.segmentor(p))).graph.initializer}
        for p in bundle.precisions
    }
    assert onnx.TensorProto.FLOAT16 in types["fp16"]
    assert onnx.TensorProto.FLOAT16 not in types["fp32"] | types["int8"]
    operators = {n.op_type for n in onnx.load(bundle.path("segmentor.int8.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def test_what_was_done_is_said_and_reported(made) -> None:
    bundle, said = made
    assert said[0] == "calibrating on 6 frames of folder:street (entropy)"
    assert [line for line in said if line.startswith("only segmentor.")]
    assert [line for line in said if line.startswith("all in INT8: ")]
    text = bundle.path("report.md").read_text()
    for wanted in (
        "## How int8 was made",
        "scales by entropy from 6 frames of `street`",
        "## Labels equal, by torch's margin",
        "| margin | of the pixels | fp32 | fp16 | int8 |",
        "## As a server runs it",
        "The arithmetic of fp16",
    ):
        assert wanted in text
    page = bundle.path("report.html").read_text()
    assert "<svg" in page
    assert "milliseconds of the network" in page
    (step,) = bundle.checks["precisions"]["int8"]["search"]
    assert step["holds"]
    assert step["miou_drop"] is not None


def test_one_wild_scale_is_caught(made, tiny) -> None:
    """As when calibration met one broken frame: the scale of one activation is a hundred times
    too large, everything else is right."""
    bundle, _ = made
    model = onnx.load(bundle.path("segmentor.int8.onnx"))
    weights = {t.name for t in model.graph.initializer}
    quantise = next(
        n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in weights
    )
    scale = next(t for t in model.graph.initializer if t.name == quantise.input[1])
    wild = numpy_helper.from_array(100 * numpy_helper.to_array(scale), scale.name)
    subject, frames = tiny.subject(tiny.Centres()), tiny.frames(3)
    trial = Trial(frames=frames, sizes=((45, 75),), golden=bundle.golden())
    reasons = partial(budget_reasons, budget=BUDGET, native=(45, 75))

    def result(graph: onnx.ModelProto):
        runner = SegmentorSession(graph.SerializeToString())
        return verify(
            subject, [Candidate(precision="int8", runner=runner, reasons=reasons)], trial
        )[0]

    assert result(model).passed
    scale.CopyFrom(wild)
    assert "of the labels differ (allowed 8%)" in result(model).reasons[0]


def test_a_budget_that_cannot_be_met_leaves_its_curve_and_no_bundle(
    tiny, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(cli, "read", lambda *_: tiny.saved(tiny.Centres()))
    spec = "toytown:camera#val/camera_01500*"
    lower = Lower(precision="int8", calibration=spec, calibration_count=2, max_disagreement=0)
    with pytest.raises(
        Failure, match=r"INT8 loses more than the budget allows .* is drawn in"
    ) as error:
        cli.export(tmp_path, out=tmp_path / "b", frames=spec, count=2, lower=lower)
    assert not isinstance(error.value, BudgetError)
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "b.budget.svg").read_text().startswith("<svg")


def test_calibration_frames_are_not_those_compared_on(tiny, tmp_path) -> None:
    info = tiny.saved(tiny.Centres()).info
    wish = Lower(precision="fp16,int8", calibration_count=100)
    compared = calibration_frames(info.target, info.classes)
    apart = wish.lowering(tmp_path, info, 12)
    assert apart.precisions == ("fp16", "int8")
    assert apart.calibration.count == min(100, compared.count - 12)
    first = compared.spread(12).read(0).image
    assert not np.array_equal(apart.calibration.read(0).image, first)
    assert wish.lowering(tmp_path, info, 0).calibration.count == 100


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"precision": "fp32,int4"}, "unknown precision 'int4'"),
        ({"precision": "int8", "calibration_count": 0}, "--calibration-count is 0"),
        ({"precision": "int8", "calibration": "folder:/nowhere"}, "/nowhere"),
    ],
)
def test_mistakes_on_the_command_line(tiny, tmp_path, monkeypatch, wish, message) -> None:
    monkeypatch.setattr(cli, "read", lambda *_: tiny.saved(tiny.Centres()))
    with pytest.raises(UserError, match=message):
        cli.export(tmp_path, out=tmp_path / "b", count=1, lower=Lower(**wish))
    assert not (tmp_path / "b").exists()


def test_a_calibration_set_of_other_classes() -> None:
    with pytest.raises(UserError, match=r"toytown:camera is of other classes \(.*calibrate on"):
        calibration_frames("toytown:camera", ("kitchen", "bath"))
