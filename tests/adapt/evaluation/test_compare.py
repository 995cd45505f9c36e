"""Comparing runs: the numbers against their own definitions, the page, the picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import roadshift
from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.data.classes import palette_of
from adapt.data.datasets import labelled, unlabelled
from adapt.evaluation.compare import Compared, Comparison, Request, compare
from adapt.evaluation.comparison_grid import Column, NamedImage, grid
from adapt.evaluation.comparison_page import notes, page, table
from adapt.evaluation.cost import Cost, Function, costs_of
from adapt.evaluation.evaluate import Views, predict
from adapt.evaluation.label_free import BEST, label_free
from adapt.evaluation.score import score
from adapt.networks import Segmented, Segmentor, build
from adapt.networks.image_generator import Translator
from adapt.networks.segmentor import Recipe
from adapt.networks.segmentors.translated import Translated
from roadshift import UserError

CLASSES = ("road", "building", "sky", "car")


def write_run(out: Path, classes: tuple[str, ...], *, size: tuple[int, int] | None = None) -> Path:
    """A run folder with a network that was never trained."""
    torch.manual_seed(len(classes))
    info = RunInfo(
        method="source_only", network="lraspp_mobilenet_v2", classes=classes,
        palette=palette_of(classes), source="", target="", work_size=size, commit="", steps=7,
        seed=0, settings={}, fingerprints={}, versions={},
        parts={"segmentor": {"kind": "lraspp_mobilenet_v2", "classes": len(classes)}},
    )  # fmt: skip
    checkpoint.write_info(out, info)
    network = build("lraspp_mobilenet_v2", len(classes))
    for parameter in network.head.parameters():  # so that several classes win somewhere
        parameter.data *= 20
    saved_state.save(out / "last.safetensors", {"segmentor": network}, 7)
    return out


class Plain(Segmentor):
    """Two convolutions to the logits, and an auxiliary head with an operation in place."""

    align_corners = False
    recipe = Recipe("sgd", lr=1e-2, backbone_scale=1.0, weight_decay=0.0)

    def __init__(self) -> None:
        super().__init__()
        self.backbone: nn.Conv2d = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, 5, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Segmented:
        x = self.backbone(x)
        return Segmented(self.head(x), self.aux(x))


def test_cost_by_hand() -> None:
    """Two operations a multiply-add, one frame, and nothing of the auxiliary head."""
    frame = torch.zeros(1, 32, 64, 3, dtype=torch.uint8)
    cost, larger = costs_of(
        [Function(Plain().eval(), None), Function(Plain().eval(), (64, 64))], frame
    )
    assert cost.gflops == pytest.approx(2 * 16 * 32 * (27 * 8 + 8 * 5) / 1e9)
    assert cost.parameters == pytest.approx((27 * 8 + 8 + 8 * 5 + 5) / 1e6)
    assert cost.milliseconds > 0
    # The network works at another size than the frame's.
    assert larger.gflops == pytest.approx(2 * cost.gflops)


def test_the_translator_is_paid_for() -> None:
    frame = torch.zeros(1, 32, 64, 3, dtype=torch.uint8)
    translator = Translator(4, 1)
    networks = (Translated(translator, Plain()).eval(), Plain().eval())
    whole, alone = costs_of([Function(network, None) for network in networks], frame)
    assert whole.gflops > 2 * alone.gflops
    more = 1e6 * (whole.parameters - alone.parameters)
    assert more == pytest.approx(sum(p.numel() for p in translator.parameters()))


def test_runs_of_the_same_classes_score_as_evaluate_scores_them(
    tiny_source: str, tmp_path: Path
) -> None:
    runs = [write_run(tmp_path / "a", CLASSES), write_run(tmp_path / "b", CLASSES, size=(64, 128))]
    said: list[str] = []
    comparison, picture = compare(Request(runs, tiny_source), said.append)
    assert said == ["the cost of a frame", "a (1 of 2)", "b (2 of 2)"]
    assert [run.size for run in comparison.runs] == [None, (64, 128)]
    assert (comparison.images, comparison.frame, comparison.left_out) == (8, (32, 64), ())
    for run, one in zip(runs, comparison.runs, strict=True):
        alone = score(run, "last", tiny_source, Views(), device="cpu", pictures=None)
        assert one.miou == pytest.approx(alone.miou)
        assert one.iou == pytest.approx(alone.iou)
        assert one.steps == 7
    assert comparison.runs[1].cost.gflops > 2 * comparison.runs[0].cost.gflops
    # Four columns and four rows of cells that are not enlarged beyond reading size.
    assert picture.shape[1] == 4 * (200 + 6) - 6
    at_one_size, _ = compare(Request(runs[:1], tiny_source, (64, 128)))
    assert at_one_size.runs[0].size == (64, 128)


def test_runs_of_other_classes_are_asked_about_those_they_share(
    tiny_source: str, tmp_path: Path
) -> None:
    """Only pixels of the shared classes count, for both: by hand from the label maps."""
    mine, other = CLASSES, ("sky", "road", "person")
    runs = [write_run(tmp_path / "a", mine), write_run(tmp_path / "b", other)]
    comparison, _ = compare(Request(runs, tiny_source))
    assert comparison.classes == ("road", "sky")
    assert set(comparison.left_out) == {"building", "car", "person"}
    data = labelled(tiny_source)
    for run, one, classes in zip(runs, comparison.runs, (mine, other), strict=True):
        segmentor = checkpoint.read(run).segmentor
        predicted, true = [], []
        for i in range(len(data)):
            labels = predict(segmentor, data.image(i), Views())
            predicted.append(np.array([*classes, *[""] * 253])[labels])
            true.append(np.array([*data.classes, *[""] * 252])[data.label(i)])
        p, y = np.stack(predicted), np.stack(true)
        for name in ("road", "sky"):
            counted = np.isin(y, ("road", "sky"))
            both = ((p == name) & (y == name)).sum()
            either = (((p == name) | (y == name)) & counted).sum()
            assert one.iou[name] == pytest.approx(100 * both / either)
        assert one.miou == pytest.approx(np.mean([v for v in one.iou.values() if v is not None]))
    assert "Not all runs have building, car, person" in " ".join(notes(comparison))


def test_what_cannot_be_compared(tiny_source: str, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", ("road",)), write_run(tmp_path / "b", ("sky",))]
    with pytest.raises(UserError, match=r"no class in common \(a: road; b: sky\)"):
        compare(Request(runs, tiny_source))
    with pytest.raises(UserError, match="no run was named"):
        compare(Request([], tiny_source))
    with pytest.raises(UserError, match="is not a run folder"):
        compare(Request([tmp_path], tiny_source))


def made_up() -> Comparison:
    def run(name: str, iou: tuple[float | None, float], cost: Cost) -> Compared:
        return Compared(
            run=name, name=name, method="source_only", network="pidnet_s", steps=1, size=None,
            miou=iou[1], iou=dict(zip(("road", "s<k>y"), iou, strict=True)), cost=cost,
        )  # fmt: skip

    return Comparison(
        data="folder:<mine>&yours", images=3, frame=(32, 64), device="the CPU", threads=1,
        classes=("road", "s<k>y"), palette=((1, 2, 3), (4, 5, 6)), left_out=("car",),
        runs=(
            run("<b>bold</b>", (None, 71.26), Cost(9.123, 2.0, 5.04)),
            run("second", (31.0, 71.24), Cost(0.456, 7.0, 3.0)),
            run("third", (31.04, 70.0), Cost(0.789, 3.0, 5.0)),
        ),
    )  # fmt: skip


def test_the_page_escapes_and_marks_the_best() -> None:
    html = page(made_up(), b"PNG")
    assert "<b>bold</b>" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "folder:&lt;mine&gt;&amp;yours" in html
    assert "s&lt;k&gt;y" in html
    assert "http" not in html
    assert "data:image/png;base64,UE5H" in html
    # IoU: the highest; values that read the same are equally good; cost: the lowest.
    for best in ("71.3", "31.0", "0.46", "2.00", "3.0"):
        assert f'<td class="number"><b>{best}</b></td>' in html
    assert html.count("<b>31.0</b>") == 2
    for other in ("71.2", "70.0", "9.12", "7.00", "5.0", "–"):
        assert f'<td class="number">{other}</td>' in html
    assert "<b>–</b>" not in html
    assert "a multiply-add counted as two" in html
    assert "Not all runs have car" in html
    # One run has nobody to be better than.
    alone = made_up()
    assert "<b>" not in page(replace(alone, runs=alone.runs[1:2]), b"PNG")


def test_the_table_names_every_run() -> None:
    found = table(made_up())
    assert [str(column.header) for column in found.columns[1:]] == [
        "<b>bold</b>", "second", "third",
    ]  # fmt: skip
    assert found.row_count == 2 + 1 + 3


def test_the_grid_holds_input_overlay_and_truth() -> None:
    image = np.full((100, 200, 3), 100, np.uint8)
    red, blue = ((200, 0, 0),), ((0, 0, 200),)
    labels = [np.zeros((100, 200), np.uint8)]
    columns = [Column("x" * 200, labels, red), Column("truth", labels, blue)]
    picture = grid([NamedImage("a frame", image)], columns, {"road": red[0], "sky": blue[0]})
    middle = picture[22 + 50]
    assert middle[100].tolist() == [100, 100, 100]
    assert middle[206 + 100].tolist() == [160, 40, 40]
    assert middle[412 + 100].tolist() == [40, 40, 160]
    assert middle[203].tolist() == [255, 255, 255]
    # A title that is too long ends where its column does.
    assert picture[:20, 200:206].min() == 255
    assert picture[:20, 206:406].min() < 100
    assert (200, 0, 0) in {tuple(pixel) for pixel in picture[-15].tolist()}


def test_through_the_command_line(
    tiny_source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write_run(tmp_path / name / "run", CLASSES)) for name in ("a", "b")]
    out = tmp_path / "out"
    for _ in range(2):  # the second time over the first
        with pytest.raises(SystemExit) as ended:
            roadshift.main(
                ["compare", *runs, "--data", tiny_source, "--out", str(out), "--threads", "1"]
            )
        assert ended.value.code == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "compare.html", "compare.json", "compare.png",
    ]  # fmt: skip
    found = json.loads((out / "compare.json").read_text())
    # Both folders are called run, so their paths tell them apart.
    assert [run["name"] for run in found["runs"]] == runs
    assert set(found["runs"][0]["cost"]) == {"gflops", "parameters", "milliseconds"}
    assert f"{found['runs'][0]['miou']:.1f}" in (out / "compare.html").read_text()
    assert "compare.html" in capfd.readouterr().out
    with pytest.raises(SystemExit) as ended:
        roadshift.main(["compare", str(out), "--data", tiny_source, "--out", str(out)])
    assert ended.value.code == 2


def test_a_target_without_labels_shows_the_label_free_signal(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    runs = [write_run(tmp_path / "a", CLASSES), write_run(tmp_path / "b", CLASSES[:2])]
    asked = Request(runs, tiny_source, (96, 192), target=tiny_target)
    comparison, _ = compare(asked)
    for run, one in zip(runs, comparison.runs, strict=True):
        segmentor = checkpoint.read(run).segmentor
        found = label_free(segmentor, unlabelled(tiny_target), (96, 192), 32)
        assert one.signal == pytest.approx(found[BEST])
    first, second = (one.signal for one in comparison.runs)
    shown = page(comparison, b"")
    assert f"<b>{max(first or 0, second or 0):.3f}</b>" in shown
    assert f"Without labels: {BEST} on {tiny_target}" in shown
    without = replace(comparison, target="")
    assert "no labels" not in page(without, b"")
