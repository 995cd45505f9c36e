from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from adapt.networks.segmentor import Normalise
from export import export_graphs, make
from export.bundle import RECONSTRUCTOR, Bundle, read_bundle
from export.graph.reconstructor import DeployedReconstructor
from export.graph.segmentor import Deployed
from export.make import make_bundle
from export.report.model_card import model_card
from roadshift import Failure, UserError


def sizes_of(bundle: Bundle) -> list[dict]:
    return bundle.checks["precisions"]["fp32"]["sizes"]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "My street"
    return make_bundle(tiny.saved(tiny.Centres()), tiny.frames(), out, size=None)


def test_what_is_written_is_read(made, tiny) -> None:
    bundle = read_bundle(made.folder)
    assert bundle == made
    assert (bundle.name, bundle.size, bundle.min_size) == ("My-street", None, (16, 16))
    assert (bundle.classes, bundle.precisions, bundle.opset) == (tiny.classes, ("fp32",), 18)
    assert bundle.min_agreement("fp32") == 0.999
    assert (bundle.align_corners, bundle.route) == (False, "exact")
    assert [c["size"] for c in sizes_of(bundle)] == [[45, 75], [33, 57], [58, 51], [16, 16]]


def test_where_it_comes_from(made) -> None:
    facts = made.provenance
    wanted = {
        "method": "source_only",
        "network": "tiny",
        "source": "toytown:game",
        "target": "toytown:camera",
        "commit": "0123456",
        "steps": 7,
        "seed": 3,
        "work_size": None,
        "align_corners": False,
        "fingerprints": {"source": "aa", "target": "bb"},
        "trained_with": {"torch": "2"},
    }
    assert {key: facts[key] for key in wanted} == wanted
    assert facts["normalisation"]["order"] == "RGB"
    assert facts["normalisation"]["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert set(facts["exported_with"]) == {"roadshift", "torch", "onnx", "onnxruntime"}
    model = onnx.load(made.path("segmentor.onnx"))
    inside = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert inside["provenance"] == facts
    assert inside["classes"] == list(made.classes)
    assert inside["palette"] == [list(colour) for colour in made.palette]


@pytest.mark.parametrize(
    ("facts", "said", "unsaid"),
    [
        ({}, "the last checkpoint, not the best on any labels.", "Target, its images"),
        (
            {"checkpoint": "best", "selected_on": "camvid#val"},
            "the checkpoint that was best on the labels of `camvid val`: scores there are not fair",
            "last checkpoint",
        ),
        ({"checkpoint": "best"}, "best checkpoint by a signal that needs no label", "not fair"),
        ({"method": "ldr", "rounds": 2}, "`ldr`, 7 steps in each of 2 rounds, seed 3", "Teacher"),
        ({"method": "ldr"}, "Target, its images alone: `toytown:camera", "each of them shows"),
        (
            {"method": "pivot", "image_labels": True},
            "Target, its images and which classes each of them shows: `toytown:camera",
            "images alone",
        ),
        (
            {"method": "distillation", "teacher": "adapted"},
            "The answers of another network, `adapted`, which had learnt from labelled images of "
            "`toytown:game`.",
            "Labelled source",
        ),
    ],
)
def test_the_model_card_says_what_it_learnt_from(made, facts, said, unsaid) -> None:
    text = model_card(replace(made, provenance=made.provenance | facts))
    assert said in text
    assert unsaid not in text


def test_a_class_that_occurs_nowhere_is_null_in_json(made) -> None:
    assert made.scores["toytown:camera#val"]["iou"] == {"road": 83.0, "car": None}
    assert "NaN" not in (made.folder / "bundle.json").read_text()


def test_the_golden_frames_come_out_of_the_file(made) -> None:
    session = onnxruntime.InferenceSession(
        made.path("segmentor.onnx"), providers=["CPUExecutionProvider"]
    )
    assert len(made.golden()) == 4  # the first at another size too
    for image, labels, *_ in made.golden():
        (found,) = session.run(["labels"], {"image": image[None]})
        assert np.array_equal(found[0], labels)


def test_the_model_card_says_what_it_is_and_where_it_fails(made) -> None:
    score = {"miou": 45.04, "images": 9, "iou": {"road": 83.06, "car": 2.0, "sky": None}}
    checks = made.checks | {"no_evidence": ["car"]}
    text = model_card(replace(made, scores={"camvid:/c#val": score}, checks=checks))
    assert text.startswith("---\npipeline_tag: image-segmentation\n")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details",
        "Uses",
        "Bias, risks and limitations",
        "Training",
        "Evaluation",
        "How to get started",
    ]
    for wanted in (
        "trained by `source_only` from `toytown:game` to `toytown:camera`",
        "On 9 images of `c val`, labels at full size: mIoU **45.0** percent.",
        "| road | 83.1 |",
        "| sky | absent |",
        "Hardly seen on `c val` (IoU under 10 %): car.",
        "Not in the labels of `c val`, so not scored: sky.",
        "No frame that the graph was verified on shows: car.",
    ):
        assert wanted in text
    provenance = made.provenance | {"source": "gta5:/home/ann/gta5", "target": "folder:/work/city"}
    elsewhere = model_card(replace(made, provenance=provenance))
    assert "from `gta5` to `city`" in elsewhere
    assert not re.search(r"/home|/work", elsewhere)
    unscored = model_card(replace(made, scores={}))
    assert "how often it is right is not known" in unscored
    assert made.path("README.md").read_text() == model_card(replace(made, files={}, digest=""))


def test_the_report_says_what_was_and_what_was_not_checked(made) -> None:
    text = made.path("report.md").read_text()
    for wanted in (
        "# My-street",
        "`tiny` trained by `source_only` from `toytown:game` to `toytown:camera`: 7 steps, seed 3",
        "every size from 16x16 on, normalises RGB by mean (0.485, 0.456, 0.406)",
        "**Verification: passed.**",
        "| fp32 | 58x51 | 3 |",
        "mIoU graph is that of the graph's labels against torch's",
        "## Not checked",
        "TensorRT and a GPU: neither was run",
        "| toytown:camera#val | 41.50 |",
    ):
        assert wanted in text
    rows = [line.count("|") for line in text.splitlines() if line.startswith("| ")]
    assert set(rows[:6]) == {15}


def test_one_size_with_labels(tiny, tmp_path) -> None:
    saved = tiny.saved(tiny.Corners(Normalise.caffe()), (24, 40))
    bundle = make_bundle(saved, tiny.frames(labelled=True), tmp_path / "b", size=(32, 64))
    assert bundle.size == bundle.min_size == (32, 64)
    (check,) = sizes_of(bundle)
    assert check["size"] == [32, 64]
    assert check["miou_torch"] == pytest.approx(check["miou_graph"], abs=0.05)
    assert {g.labels.shape for g in bundle.golden()} == {(32, 64)}
    assert bundle.provenance["normalisation"]["order"] == "BGR"
    text = bundle.path("report.md").read_text()
    assert "32x64 only, resizes them to 24x40, normalises BGR" in text
    assert "mIoU is of both sides against the labels" in text


def test_a_graph_that_is_not_the_network_becomes_no_bundle(
    tiny, made, tmp_path, monkeypatch
) -> None:
    class Wrong(Deployed):
        def forward(self, image):
            return super().forward(image.flip(3))

    shutil.copytree(made.folder, tmp_path / "b")
    before = read_bundle(tmp_path / "b")
    monkeypatch.setattr(export_graphs, "Deployed", Wrong)
    with pytest.raises(Failure) as error:
        make_bundle(tiny.saved(tiny.Centres()), tiny.frames(), tmp_path / "b", size=None)
    text = str(error.value)
    assert (
        "does not agree with its network on folder:street: in fp32 at 45x75 logits differ by"
        in text
    )
    assert "; and " in text
    assert "try --size HxW" in text
    assert "No bundle was written" in text
    assert read_bundle(tmp_path / "b") == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_frames_below_the_smallest_size(tiny, tmp_path) -> None:
    class Large(tiny.Centres):
        min_size = (64, 64)

    with pytest.raises(UserError, match=r"folder:street are 45x75 .* takes them from 64x64 on"):
        make_bundle(tiny.saved(Large()), tiny.frames(), tmp_path / "b", size=None)


def test_a_wrong_destination_is_found_before_the_work(tiny, tmp_path, monkeypatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(export_graphs, "to_onnx", None)
    with pytest.raises(UserError, match=r"notes\.txt"):
        make_bundle(tiny.saved(tiny.Centres()), tiny.frames(), tmp_path, size=None)


@pytest.fixture(scope="module")
def with_reconstructor(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("rebuilt") / "street"
    saved = tiny.saved(tiny.Centres(), None, tiny.reconstructor())
    return make_bundle(saved, tiny.frames(), out, size=None)


def test_a_reconstructor_is_written_beside_the_segmentor(with_reconstructor, made) -> None:
    bundle = read_bundle(with_reconstructor.folder)
    assert bundle == with_reconstructor
    assert "reconstructor.onnx" in bundle.files
    assert "reconstructor.onnx" not in made.files
    assert "reconstructor" not in made.checks
    assert bundle.min_size == (32, 32)  # the larger of the two networks'
    checks = bundle.checks["reconstructor"]
    assert checks["passed"]
    assert checks["min_psnr"] == 40
    sizes = [c["size"] for c in sizes_of(bundle)]
    assert [c["size"] for c in checks["sizes"]] == sizes == [[45, 75], [33, 57], [58, 51], [32, 32]]
    assert all(c["pictures"] == 4 for c in checks["sizes"])
    text = bundle.path("report.md").read_text()
    assert "## The reconstructor" in text
    assert "| 58x51 | 4 | 0.0000% |" in text


def test_the_golden_rebuilt_images_come_out_of_the_file(with_reconstructor, tiny) -> None:
    session = onnxruntime.InferenceSession(
        with_reconstructor.path("reconstructor.onnx"), providers=["CPUExecutionProvider"]
    )
    module = DeployedReconstructor(tiny.reconstructor(), None)
    golden = with_reconstructor.golden_drawn(RECONSTRUCTOR)
    assert len(golden) == 4
    for frame, (labels, image) in zip(with_reconstructor.golden(), golden, strict=True):
        assert np.array_equal(labels, frame.labels)
        (found,) = session.run(["image"], {"labels": labels[None]})
        assert np.abs(found[0].astype(int) - image).max() <= 1
        with torch.inference_mode():
            by_torch = module(torch.tensor(labels[None]))[0].numpy()
        assert np.array_equal(by_torch, image)


def test_a_reconstructor_of_one_size(tiny, tmp_path) -> None:
    saved = tiny.saved(tiny.Corners(), (40, 64), tiny.reconstructor())
    bundle = make_bundle(saved, tiny.frames(), tmp_path / "b", size=(32, 64))
    (check,) = bundle.checks["reconstructor"]["sizes"]
    assert check["size"] == [32, 64]
    assert {g.image.shape for g in bundle.golden_drawn(RECONSTRUCTOR)} == {(32, 64, 3)}


def test_a_wrong_reconstructor_becomes_no_bundle(tiny, tmp_path, monkeypatch) -> None:
    """Red and blue are swapped in the graph only."""
    to_onnx = export_graphs.image_graph.to_onnx

    class Swapped(DeployedReconstructor):
        def forward(self, labels):
            return super().forward(labels).flip(3)

    def planted(one, size):
        wrong = Swapped(one.module.reconstructor, one.module.work_size).eval()
        return to_onnx(replace(one, module=wrong), size)

    monkeypatch.setattr(export_graphs.image_graph, "to_onnx", planted)
    saved = tiny.saved(tiny.Centres(), None, tiny.reconstructor())
    with pytest.raises(
        Failure, match=r"at 45x75 the reconstructor's images differ by .* No bundle"
    ):
        make_bundle(saved, tiny.frames(), tmp_path / "b", size=None)
    assert not list(tmp_path.iterdir())


def test_a_refusal_names_the_precision_and_advises_what_fits() -> None:
    exported = SimpleNamespace(redrawings=[SimpleNamespace(reasons=("the drawing is off",))])

    def of(precision: str, *reasons: str):
        candidate = SimpleNamespace(precision=precision, exact=precision == "fp32")
        return SimpleNamespace(candidate=candidate, reasons=reasons)

    lower = make._refusal([of("fp32"), of("int8", "mIoU falls")], exported, "city", Path("b"))
    assert "on city: in int8 mIoU falls; the drawing is off. No bundle was written" in lower
    assert lower.endswith(
        "try more --calibration-count, a wider budget, or without that --precision"
    )
    both = make._refusal(
        [of("fp32", "logits differ"), of("int8", "mIoU falls")], exported, "city", Path("b")
    )
    assert both.endswith("try --size HxW, or another version of torch")
    fine = SimpleNamespace(redrawings=[])
    assert make._refusal([of("fp32")], fine, "city", Path("b")) == ""
