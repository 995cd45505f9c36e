"""From a bundle to a verified plan, on a double whose plans ONNX Runtime runs."""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_plan import SIZE, frame, machine, make_bundle, wish

from export.bundle import RECONSTRUCTOR
from export.bundle.plan_file import manifest_hash, page_of, read_plan
from export.tensorrt.make import make_plan
from export.tensorrt.options import Wish, size_for
from roadshift import Failure, UserError
from serve.runtime.tensorrt.golden_check import pairs
from serve.runtime.tensorrt.plan import Plan


def nothing(phase, done, total):
    pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def device():
    with machine("10.3.0") as found:
        yield found
        assert found.cuda._held == 0


@pytest.mark.parametrize(
    ("version", "short"), [("10.3.0", "10.3.0"), ("11.4.0.106", "11.4.0")], ids=str
)
def test_a_plan_and_its_page(bundle, tmp_path, version, short):
    with machine(version) as device:
        path, page = make_plan(bundle, wish(precision="fp16"), tmp_path, nothing)
        assert device.cuda._held == 0
    assert path.name == f"tiny.segmentor.fp16.16x24.sm87.trt{short}.plan"
    assert read_plan(path)[1] == page
    assert (page.manifest_sha256, page.onnx) == (manifest_hash(bundle), "segmentor.fp16.onnx")
    assert page.onnx_sha256 == bundle.files["segmentor.fp16.onnx"]
    assert (page.gpu, page.compute, page.tensorrt) == ("Drawn GPU", (8, 7), version)
    assert page.options == {
        "strongly_typed": True,
        "tf32": False,
        "optimization_level": 3,
        "workspace_mib": None,
    }
    assert page.golden == {
        "measure": "agreement",
        "worst": 1.0,
        "wanted": 0.95,
        "frames": 1,
        "against": ["torch"],
    }
    assert page.latency["cuda_graph"]
    assert 0 < page.latency["p50_ms"] <= page.latency["p95_ms"] <= page.latency["p99_ms"]
    cache = f"timings.sm87.trt{short}.cache"
    assert {p.name for p in tmp_path.iterdir()} == {path.name, page_of(path).name, cache}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"output": "logits"}, "tiny.segmentor.fp32.logits.16x24.sm87.trt10.3.0.plan"),
        ({"batch": 3}, "tiny.segmentor.fp32.16x24.b3.sm87.trt10.3.0.plan"),
        (
            {"graph": "reconstructor", "output": "image"},
            "tiny.reconstructor.fp32.16x24.sm87.trt10.3.0.plan",
        ),
    ],
)
def test_other_plans(bundle, tmp_path, device, changes, name):
    path, page = make_plan(bundle, wish(**changes), tmp_path, nothing)
    assert path.name == name
    assert page.golden["worst"] in {1.0, None}
    assert page.golden["measure"] == ("psnr" if "image" in changes.values() else "agreement")


def test_a_bundle_of_one_size(tmp_path, device):
    bundle = make_bundle(tmp_path / "b", size=SIZE)
    _, page = make_plan(bundle, wish(), tmp_path / "out", nothing)
    assert page.golden["worst"] == 1


def test_golden_frames_of_another_size(tmp_path, device):
    bundle = make_bundle(tmp_path / "b", frames=[(33, 47), SIZE])
    for changes in ({}, {"graph": "reconstructor", "output": "image"}):
        _, page = make_plan(bundle, wish(**changes), tmp_path / "out", nothing)
        assert page.golden["against"] == ["the float32 graph on the CPU", "torch"]
        assert page.golden["frames"] == 2


def test_golden_frames_of_another_size_and_no_onnxruntime(tmp_path, device, monkeypatch):
    bundle = make_bundle(tmp_path / "b", frames=[(33, 47)])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Failure, match=r"not of 16x24, .*pip install onnxruntime, or give"):
        make_plan(bundle, wish(), tmp_path / "out", nothing)


@pytest.mark.parametrize("frames", [[SIZE], [(33, 47)]], ids=["same size", "other size"])
def test_a_plan_that_is_another_model_is_not_kept(tmp_path, device, frames):
    """The plan that was there stays, whole, and so do the timings."""
    bundle = make_bundle(tmp_path / "b", frames=frames, bias=1000.0)
    old, _ = make_plan(bundle, wish(), tmp_path / "out", nothing)
    old.rename(old.with_name(old.name.replace("fp32", "fp16")))
    there = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(
        Failure, match=r"tiny in fp16 gives \d+\.\d{4}% of a golden .* wanted 95\.0000%: it is not"
    ):
        make_plan(bundle, wish(precision="fp16"), tmp_path / "out", nothing)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == there


def test_a_drawing_that_is_another_one(tmp_path, device, monkeypatch):
    bundle = make_bundle(tmp_path / "b")
    monkeypatch.setattr(Plan, "run", lambda *_: {"image": frame(9)[None]})
    drawn = wish(graph="reconstructor", output="image")
    with pytest.raises(Failure, match=r"gives a golden image to \d\.\d dB .* wanted 40 dB"):
        make_plan(bundle, drawn, tmp_path / "out", nothing)


def test_the_worst_frame_counts(tmp_path, device, monkeypatch):
    bundle = make_bundle(tmp_path / "b", frames=[SIZE] * 3)
    shares = iter([1.0, 0.5, 1.0])
    monkeypatch.setattr("serve.runtime.tensorrt.golden_check._agreement", lambda *_: next(shares))
    with pytest.raises(Failure, match=r"gives 50\.0000% of a golden frame's labels"):
        make_plan(bundle, wish(), tmp_path / "out", nothing)


def test_a_class_that_a_plan_never_gives(tmp_path, device, monkeypatch):
    monkeypatch.setattr("export.bundle.reproduction.EVIDENCE", 1)
    made = make_bundle(tmp_path / "b")
    labels = made.golden()[0].labels
    rare = min(np.unique(labels).tolist(), key=lambda c: int((labels == c).sum()))
    name, limit = made.classes[rare], {"pixels": int((labels == rare).sum()), "min_agreement": 0.9}
    checks = {"min_agreement": 0.0, "classes": {name: limit, "nowhere": limit}}
    more = {**made.checks, "precisions": dict.fromkeys(made.precisions, checks)}
    another = np.where(labels == rare, (rare + 1) % 3, labels).astype(np.uint8)
    monkeypatch.setattr(Plan, "run", lambda *_: {"labels": another[None]})
    with pytest.raises(Failure, match=rf"gives 0\.00% of the {name} .* not the model that was ver"):
        make_plan(replace(made, checks=more), wish(), tmp_path / "out", nothing)


def test_labels_are_not_mixed_when_they_are_resized(bundle):
    (drawn,) = bundle.golden_drawn(RECONSTRUCTOR)
    (pair,) = pairs(bundle, "reconstructor", (8, 12))
    assert (pair.given == drawn.given[::2, ::2]).all()
    assert pair.wanted.shape == (8, 12, 3)


def test_a_plan_that_cannot_be_recorded(bundle, tmp_path, device):
    device.trt._faults["capture"] = "yes"
    _, page = make_plan(bundle, wish(), tmp_path, nothing)
    assert page.latency["cuda_graph"] is False
    assert page.golden["worst"] == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"graph": "segmenter"}, "unknown graph 'segmenter': did you mean 'segmentor'"),
        ({"precision": "int8"}, "has the precisions fp32, fp16, no int8"),
        ({"graph": "translator", "output": "translated"}, "has no 'translator.onnx'"),
        ({"graph": "reconstructor", "precision": "fp16"}, "leave --precision and --logits out"),
        ({"graph": "reconstructor", "output": "logits"}, "leave --precision and --logits out"),
        ({"batch": 0}, "--batch is 0: wanted"),
        ({"optimization_level": 6}, "--optimization-level is 6: wanted 0 to 5"),
        ({"optimization_level": -1}, "--optimization-level is -1: wanted 0 to 5"),
        ({"workspace": 0}, "--workspace is 0: wanted MiB"),
    ],
)
def test_wishes_that_cannot_be(bundle, tmp_path, device, changes, match):
    with pytest.raises(UserError, match=match):
        make_plan(bundle, wish(**changes), tmp_path, nothing)
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_no_route_to_labels(tmp_path, device):
    bundle = make_bundle(tmp_path / "b", route="dense")
    with pytest.raises(UserError, match=r"not upsampled bilinearly .* leave --logits out"):
        make_plan(bundle, wish(output="logits"), tmp_path / "out", nothing)


def test_hardware_compatible_needs_ampere(bundle, tmp_path):
    with machine(compute=(7, 5)), pytest.raises(UserError, match=r"Ampere .* Drawn GPU \(7\.5\)"):
        make_plan(bundle, wish(hardware_compatible=True), tmp_path, nothing)


def test_a_folder_in_the_bundle(bundle, device):
    for out in (bundle.folder, bundle.folder / "plans"):
        with pytest.raises(UserError, match=r"is in the bundle, .* name another folder with --out"):
            make_plan(bundle, wish(), out, nothing)


def test_a_folder_that_is_a_file(bundle, tmp_path, device):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write to .*file/out: name another"):
        make_plan(bundle, wish(), tmp_path / "file/out", nothing)
    assert device.trt._calls == []


def test_sizes(bundle, tmp_path):
    fixed = make_bundle(tmp_path / "fixed", size=SIZE)
    assert size_for(fixed, None) == size_for(fixed, SIZE) == SIZE
    assert size_for(bundle, (9, 11)) == (9, 11)
    with pytest.raises(UserError, match=r"frames of every size, .* --size HEIGHTxWIDTH"):
        size_for(bundle, None)
    with pytest.raises(UserError, match="takes 16x24 only, and --size is 9x11: leave"):
        size_for(fixed, (9, 11))
    with pytest.raises(UserError, match="from 8x8 on, and --size is 7x100: give a larger"):
        size_for(bundle, (7, 100))


def test_nothing_of_torch_is_needed():
    """A Jetson has none; export/ may import it elsewhere, so no lint rule holds this."""
    code = (
        "import sys, serve.runtime.tensorrt.plan, export.cli.engine, export.tensorrt.make; "
        "loaded = {name.split('.')[0] for name in sys.modules}; "
        "sys.exit(bool(loaded & {'torch', 'adapt', 'tensorrt', 'cuda'}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_warnings_are_logged_once(bundle, tmp_path, device, caplog):
    with caplog.at_level(logging.WARNING):
        make_plan(bundle, wish(), tmp_path, nothing)
    assert [record.getMessage() for record in caplog.records] == ["TensorRT: a warning"]


def test_the_page_is_json_for_others(bundle, tmp_path, device):
    path, _ = make_plan(bundle, wish(), tmp_path, nothing)
    page = json.loads(page_of(path).read_text())
    assert (page["format"], page["size"], page["compute"]) == (1, [16, 24], [8, 7])


def test_a_wish_is_a_shape():
    asked = Wish(graph="reconstructor", precision="fp32", output="image", size=(4, 5))
    assert asked.shape(2) == (2, 4, 5)
    assert wish().shape(-1) == (-1, 16, 24, 3)
    assert np.prod(wish(size=(2, 3)).shape(1)) == 18
