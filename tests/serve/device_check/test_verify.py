"""`roadshift verify`: what it finds, what it says, and how it ends."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

import roadshift
import serve.device_check.verify
from export.bundle import Golden, write_bundle
from export.bundle.graphs import drawing_graphs
from roadshift import Command, Failure, UserError
from serve.device_check import through_bytes
from serve.device_check.verify import check_device
from serve.media.codec import encode_png
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph


@pytest.fixture
def ends(monkeypatch, capsys):
    """Runs `roadshift verify` with one thread; the exit code and what was said on each stream."""
    command = Command("serve.cli.verify:verify", "", "cpu")
    monkeypatch.setitem(roadshift.COMMANDS, "verify", command)

    def run(bundle, *more):
        with pytest.raises(SystemExit) as end:
            roadshift.main(["verify", str(bundle), "--threads", "1", "--runs", "2", *more])
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return run


@pytest.fixture
def copy(exact, tmp_path):
    """The bundle in a folder that a test may damage."""
    return shutil.copytree(exact.folder, tmp_path / "copy")


def checked(bundle, **more):
    return check_device(bundle, threads=1, runs=1, **more)


def changed(bundle, tmp_path, golden=None, **fields):
    """The bundle written anew with other values, so that every hash is right."""
    contents = {
        name: bundle.path(name).read_bytes()
        for name in bundle.files
        if not name.startswith("golden/")
    }
    golden = golden or bundle.golden()
    drawn = {
        graph.golden: [frame.image for frame in bundle.golden_drawn(graph)]
        for graph in drawing_graphs()
        if graph.file in bundle.files
    }
    bundle = replace(bundle, folder=tmp_path / "changed", **fields)
    return write_bundle(bundle, contents, golden, drawn)


def test_a_good_bundle(exact, ends):
    code, said, errors = ends(exact.folder)
    assert (code, errors) == (0, "")
    lines = said.splitlines()
    assert f"files of {exact.folder} are those that were checked" in lines[0]
    assert lines[1].startswith("tiny on cpu (")
    assert lines[3].split()[:3] == ["route", "golden", "routes"]
    assert lines[4].split()[:4] == ["fp32", "exact", "100.000%", "100.0000%"]
    assert "the median of 2 runs: JPEG of 64x96" in said
    assert "reconstructor: the golden images are equal" in said
    assert "translator: the golden images are equal" in said


def test_only_the_bundle_of_that_digest(exact, ends):
    assert ends(exact.folder, "--digest", exact.digest)[0] == 0
    code, _, errors = ends(exact.folder, "--digest", "0" * 64)
    assert code == 2
    assert f"has the digest {exact.digest}, wanted 000" in errors


def test_what_a_bundle_of_an_older_format_lacks_is_said(exact, tmp_path, ends):
    assert "its golden frames know labels alone" in ends(exact.folder)[1]
    checks = {
        **exact.checks,
        "precisions": {"fp32": {"min_agreement": 0.999, "classes": {}}},
        "no_evidence": ["bus", "train"],
    }
    said = ends(changed(exact, tmp_path, checks=checks).folder)[1]
    assert "labels alone" not in said
    assert "note: no class is checked by itself" in said
    assert "note: no evidence for bus, train" in said


def test_the_report_as_json(exact):
    report = checked(exact)
    values = json.loads(json.dumps(report.values()))
    (precision,) = values["precisions"]
    assert precision["golden"] == {"exact": 1.0, "dense": 1.0}
    assert precision["routes_agree"] == 1.0
    assert precision["placement"]["nodes"].keys() == {"cpu"}
    assert precision["latency"]["stages"]["total"]["p50"] > 0
    assert [drawing["kind"] for drawing in values["drawings"]] == ["reconstructor", "translator"]
    assert values["drawings"][0]["psnr"] is None


def test_a_bundle_with_one_route(tiny):
    report = checked(tiny)
    assert report.precisions[0].golden == {"dense": 1.0}
    assert report.precisions[0].routes_agree is None
    row = report.precisions[0].row()
    assert row[1] == "dense"
    assert row[3] == row[8] == "-"
    assert "fp32: the dense route, since the bundle has no other" in report.text()


def test_a_folder_that_is_no_bundle_yet(copy, exact):
    (copy / "bundle.json").unlink()
    assert checked(replace(exact, folder=copy)).bundle == "tiny"


@pytest.mark.parametrize("name", ["segmentor.onnx", "golden/0.labels.png", "report.md"])
def test_a_flipped_byte(copy, ends, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, said, errors = ends(copy)
    assert (code, said) == (2, "")
    assert f"{name!r} is not the file that was checked" in errors
    assert errors.count("\n") == 1


def test_a_cut_and_a_missing_file(copy, ends):
    path = copy / "translator.onnx"
    path.write_bytes(path.read_bytes()[:100])
    code, _, errors = ends(copy)
    assert code == 2
    assert "'translator.onnx' is not the file that was checked" in errors
    path.unlink()
    code, _, errors = ends(copy)
    assert code == 2
    assert "lacks its file 'translator.onnx'" in errors


def test_wrong_golden_labels(exact, tmp_path, ends):
    golden = exact.golden()
    labels = golden[1].labels.copy()
    labels[:8] = 3 - labels[:8]
    bundle = changed(exact, tmp_path, [golden[0], Golden(golden[1].image, labels)])
    code, _, errors = ends(bundle.folder)
    assert code == 1
    assert "bundle tiny gives 87.5000% of a golden frame's labels in fp32; wanted 99.9" in errors
    assert errors.count("\n") == 1


def test_a_manifest_that_says_other_corners_than_the_graph(exact, tmp_path, ends):
    bundle = changed(exact, tmp_path, align_corners=True)
    code, _, errors = ends(bundle.folder)
    assert code == 1
    assert "in fp32 the exact and the dense route agree in " in errors
    assert "says otherwise than the graph how logits are upsampled" in errors


def test_a_class_that_no_golden_frame_has_by_another_name(exact, kit, tmp_path):
    """In the graph's labels; its logits are right."""
    dark = [Golden(golden.image // 8, golden.labels * 0) for golden in exact.golden()]
    model = onnx.load_from_string(exact.path("segmentor.onnx").read_bytes())
    more = {"golden": dark, "route": "exact"}
    checked(kit.make_bundle(tmp_path / "good", graph=model.SerializeToString(), **more))
    cast = next(node for node in model.graph.node if list(node.output) == ["labels"])
    cast.output[0] = "true_labels"
    table = onnx.numpy_helper.from_array(np.array([0, 1, 3, 2], np.uint8), "green_is_blue")
    model.graph.initializer.append(table)
    which = onnx.helper.make_node("Cast", ["true_labels"], ["which"], to=onnx.TensorProto.INT32)
    named = onnx.helper.make_node("Gather", ["green_is_blue", "which"], ["labels"])
    model.graph.node.extend([which, named])
    wrong = kit.make_bundle(tmp_path / "wrong", graph=model.SerializeToString(), **more)
    with pytest.raises(Failure, match="labels are not those of its logits"):
        checked(wrong)


def test_a_wrong_drawing(kit, tmp_path):
    swapped = [colour[::-1] for colour in kit.palette]
    others = {"reconstructor.onnx": kit.drawing(None, swapped)}
    with pytest.raises(Failure, match="rebuilds a golden image to"):
        checked(kit.make_exact(tmp_path / "b", others=others))


def first_for_all(graph, output):
    """The graph, with the first frame's answer for every frame of a batch."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.output[:] = ["own" if name == output else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zeroth"))
    made = onnx.helper.make_node
    model.graph.node.extend([
        made("Gather", ["own", "zeroth"], ["first"]),
        made("Shape", ["own"], ["whole"]),
        made("Expand", ["first", "whole"], [output]),
    ])  # fmt: skip
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("output", "said"),
    [("labels", "of a golden frame's labels"), ("confidence", "confidence that are off by")],
)
def test_the_first_answer_for_a_whole_batch(exact, kit, tmp_path, output, said):
    engine, good = Engine(exact, route="dense", threads=1), exact.path("segmentor.onnx")
    golden = [
        one._replace(confidence=engine.segment(one.image[None], confidence=True).confidence[0])
        for one in exact.golden()
    ]
    limits = {**exact.checks["precisions"]["fp32"], "max_confidence_error": 0.5}
    fields = {"golden": golden, "checks": {**exact.checks, "precisions": {"fp32": limits}}}
    checked(changed(exact, tmp_path, **fields))
    graph = first_for_all(good.read_bytes(), output)
    bundle = kit.make_exact(tmp_path / "b", graph=graph)
    fields["checks"] = {**bundle.checks, "precisions": {"fp32": limits}}
    with pytest.raises(Failure, match=said):
        checked(changed(bundle, tmp_path, **fields))


def test_the_first_drawing_for_a_whole_batch(kit, tmp_path):
    others = {"reconstructor.onnx": first_for_all(kit.drawing(None), "image")}
    with pytest.raises(Failure, match="rebuilds a golden image to"):
        checked(kit.make_exact(tmp_path / "b", others=others))


def test_names_that_the_graph_contradicts(kit, tmp_path, ends):
    model = onnx.load_from_string(kit.graph(None))
    onnx.helper.set_model_props(model, {"classes": json.dumps(kit.classes[::-1])})
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    code, _, errors = ends(bundle.folder)
    assert code == 1
    assert "was exported with other classes, " in errors


def test_names_in_the_graph_that_are_no_json(kit, tmp_path, ends):
    model = onnx.load_from_string(kit.graph(None))
    onnx.helper.set_model_props(model, {"classes": "road, sky"})
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    code, _, errors = ends(bundle.folder)
    assert (code, "was exported with other classes, road, sky, than" in errors) == (1, True)


@pytest.mark.parametrize("of", ["input", "output"])
def test_a_graph_that_does_not_say_its_shapes(exact, kit, tmp_path, of):
    model = onnx.load_from_string(exact.path("segmentor.onnx").read_bytes())
    getattr(model.graph, of)[-1].type.tensor_type.ClearField("shape")
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(Failure, match="does not say the shapes of its input and outputs"):
        Engine(bundle, threads=1)


def test_logits_of_another_rank(exact, kit, tmp_path):
    model = onnx.load_from_string(exact.path("segmentor.onnx").read_bytes())
    logits = next(value for value in model.graph.output if value.name == "logits")
    del logits.type.tensor_type.shape.dim[2:]
    bundle = kit.make_exact(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(
        Failure, match=r"logits of shape \[.*\]; wanted 4 classes, \[n, classes, h, w"
    ):
        Engine(bundle, threads=1)


def test_a_graph_with_another_interface(kit, tmp_path, ends):
    model = onnx.load_from_string(kit.graph(None))
    del model.graph.output[2]
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    code, _, errors = ends(bundle.folder)
    assert code == 1
    assert "makes confidence UINT8, labels UINT8 of image UINT8; wanted" in errors


def test_an_operator_that_is_not_there(kit, tmp_path, ends):
    model = onnx.load_from_string(kit.graph(None))
    model.graph.node[2].op_type = "Segment"
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    code, _, errors = ends(bundle.folder)
    assert code == 1
    assert "has no operator Segment on cpu: it cannot run segmentor.onnx" in errors


@pytest.mark.parametrize("kind", [Engine, ImageGraph])
def test_a_node_elsewhere(exact, monkeypatch, kind):
    real = serve.device_check.verify.placement

    def of_some_elsewhere(graph, given):
        found = real(graph, given)
        return replace(found, nodes={"other": 4}) if isinstance(graph, kind) else found

    monkeypatch.setattr(serve.device_check.verify, "placement", of_some_elsewhere)
    with pytest.raises(Failure, match="no node runs on cpu, which was asked for"):
        checked(exact)


def test_int8_is_held_to_its_own_agreement(int8):
    report = checked(int8, precisions=int8.precisions)
    assert [found.precision for found in report.precisions] == ["fp32", "int8"]
    assert 0.98 < report.precisions[1].golden["exact"] < 1
    strict = {name: {"min_agreement": 1.0} for name in int8.precisions}
    with pytest.raises(Failure, match=r"labels in int8; wanted 100\.0000%"):
        checked(replace(int8, checks={"precisions": strict}), precisions=["int8"])


def test_which_precisions(kit, tmp_path, ends, exact):
    others = {"segmentor.fp16.onnx": kit.in_fp16(kit.upsampling())}
    bundle = kit.make_exact(tmp_path / "b", precisions=("fp32", "fp16"), others=others)
    for asked, rows in ((), ["fp32", "fp16"]), (("--precision", "fp16"), ["fp16"]):
        code, said, _ = ends(bundle.folder, *asked)
        assert code == 0
        table = said.split("routes agree")[1].split("milliseconds")[0].splitlines()[1:]
        assert [line.split()[0] for line in table if line] == rows
    code, _, errors = ends(bundle.folder, "--precision", "fp32,int4")
    assert code == 2
    assert "unknown precision 'int4': did you mean 'int8'" in errors
    code, _, errors = ends(exact.folder, "--precision", "fp16")
    assert code == 2
    assert "has the precisions fp32, no fp16" in errors


def test_a_provider_that_is_not_there(exact, ends):
    code, _, errors = ends(exact.folder, "--provider", "tensorrt")
    assert code == 1
    assert "asked for the provider tensorrt" in errors


def test_no_run_at_all(exact):
    with pytest.raises(UserError, match="runs is 0"):
        check_device(exact, threads=1, runs=0)


def test_a_decoder_that_swaps_the_channels(exact, monkeypatch):
    real = through_bytes.decode
    monkeypatch.setattr(through_bytes, "decode", lambda data: real(data)[..., ::-1])
    with pytest.raises(Failure, match="other pixels of a PNG than Pillow"):
        checked(exact)
    jpeg = lambda data: real(data) if data[:4] == b"\x89PNG" else real(data)[..., ::-1]  # noqa: E731
    monkeypatch.setattr(through_bytes, "decode", jpeg)
    with pytest.raises(Failure, match=r"other pixels of a JPEG than Pillow \(off by"):
        checked(exact)


def test_a_label_png_that_is_off_by_one(exact, monkeypatch):
    monkeypatch.setattr(through_bytes, "encode_png", lambda labels: encode_png(labels + 1))
    with pytest.raises(Failure, match="holds other labels than the engine gave"):
        checked(exact)
