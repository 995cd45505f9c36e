import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from google.protobuf import text_format
from tiny_plan import SIZE, frame, make_bundle, reconstructor
from tritonclient.grpc.model_config_pb2 import (
    TYPE_UINT8,
    ModelConfig,
    ModelInstanceGroup,
    ModelQueuePolicy,
)

from export.bundle import TRANSLATOR, read_bundle, write_bundle
from export.bundle.plan_file import Sidecar, manifest_hash, page_of, sha256, write_plan
from export.triton.config import TritonModel, TritonTensor, config
from export.triton.repository import write_repository
from roadshift import Failure, UserError

FILES = ["1/model.onnx", "config.pbtxt", "labels.txt", "warmup/golden"]


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A bundle for frames of every size, with a reconstructor."""
    return make_bundle(tmp_path_factory.mktemp("free") / "b")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("fixed") / "b", size=SIZE)


def told(folder):
    """config.pbtxt as Triton's own schema reads it."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())


def listed(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def axes(value):
    shape = value.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else -1 for axis in shape]


@pytest.mark.parametrize("sizes", ["free", "fixed"])
def test_what_triton_is_told_is_what_the_graphs_are(sizes, request, tmp_path):
    bundle = request.getfixturevalue(sizes)
    assert write_repository(bundle, tmp_path) == ["tiny", "tiny-reconstructor"]
    assert listed(tmp_path / "tiny") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kserve.yaml",
        "tiny",
        "tiny-reconstructor",
    ]
    for name, outputs in (("tiny", ["labels"]), ("tiny-reconstructor", ["image"])):
        found = told(tmp_path / name)
        graph = onnx.load(tmp_path / name / "1" / "model.onnx").graph
        assert (found.name, found.platform, found.max_batch_size) == (name, "onnxruntime_onnx", 8)
        for tensors, values in ((found.input, graph.input), (found.output, graph.output)):
            assert [t.name for t in tensors] == [v.name for v in values]
            assert [t.data_type for t in tensors] == [TYPE_UINT8] * len(values)
            # The batch's axis is Triton's.
            assert [[-1, *t.dims] for t in tensors] == [axes(v) for v in values]
        assert [v.name for v in graph.output] == outputs
    labels = told(tmp_path / "tiny").output[0].label_filename
    assert (tmp_path / "tiny" / labels).read_text().splitlines() == list(bundle.classes)
    assert not told(tmp_path / "tiny-reconstructor").output[0].label_filename


def test_the_graph_gives_the_golden_labels_and_nothing_that_costs_more(free, tmp_path):
    write_repository(free, tmp_path)
    content = (tmp_path / "tiny" / "1" / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    golden = free.golden()[0]
    found = onnxruntime.InferenceSession(content).run(None, {"image": golden.image[None]})
    assert len(found) == 1
    assert np.array_equal(found[0][0], golden.labels)


@pytest.mark.parametrize("file", ["segmentor.onnx", "reconstructor.onnx"])
def test_what_no_engine_opens_is_not_shipped_either(tmp_path, file):
    """A graph that draws at random, in a file with its own hash."""
    bundle = make_bundle(tmp_path / "b")
    model = onnx.load_from_string(bundle.path(file).read_bytes())
    model.graph.node.append(onnx.helper.make_node("RandomUniform", [], ["unread"], shape=[1]))
    bundle.path(file).write_bytes(model.SerializeToString())
    with pytest.raises(Failure, match=rf"{file} answers by chance"):
        write_repository(bundle, tmp_path / "triton")


def test_queue_and_instances(free, tmp_path):
    write_repository(free, tmp_path, max_batch=4)
    found = told(tmp_path / "tiny")
    assert found.max_batch_size == 4
    policy = found.dynamic_batching.default_queue_policy
    assert policy.timeout_action == ModelQueuePolicy.TimeoutAction.REJECT
    assert policy.max_queue_size > 0
    assert policy.default_timeout_microseconds > found.dynamic_batching.max_queue_delay_microseconds
    assert policy.allow_timeout_override
    assert [(g.count, g.kind) for g in found.instance_group] == [(1, ModelInstanceGroup.KIND_AUTO)]


def test_ready_means_that_a_golden_frame_has_run(free, tmp_path):
    write_repository(free, tmp_path, max_batch=4)
    golden = free.golden()[0]
    for name, given in (("tiny", golden.image), ("tiny-reconstructor", golden.labels)):
        found = told(tmp_path / name)
        assert [run.batch_size for run in found.model_warmup] == [1, 4]
        assert len({run.name for run in found.model_warmup}) == 2
        for run in found.model_warmup:
            (key, value), *others = run.inputs.items()
            assert (key, others) == (found.input[0].name, [])
            assert value.data_type == TYPE_UINT8
            assert list(value.dims) == list(given.shape)
            content = (tmp_path / name / "warmup" / value.input_data_file).read_bytes()
            assert content == given.tobytes()


def test_in_another_precision(free, tmp_path):
    write_repository(free, tmp_path, precision="fp16")
    model = onnx.load(tmp_path / "tiny" / "1" / "model.onnx")
    assert axes(model.graph.input[0]) == [-1, -1, -1, 3]
    with pytest.raises(UserError, match="no int8"):
        write_repository(free, tmp_path, precision="int8")


def planned(bundle, folder: Path, **changes):
    content = b"machine code"
    page = Sidecar(
        bundle="tiny",
        manifest_sha256=manifest_hash(bundle),
        graph="segmentor",
        precision="fp16",
        output="labels",
        size=SIZE,
        batch=1,
        onnx="segmentor.fp16.onnx",
        onnx_sha256=bundle.files["segmentor.fp16.onnx"],
        plan_sha256=sha256(content),
        gpu="Orin",
        compute=(8, 7),
        driver="12.6",
        cuda="12.6",
        tensorrt="10.3.0",
        version_compatible=False,
        hardware_compatible=False,
        options={},
        golden={},
        latency={},
    )
    path = folder / "a.plan"
    write_plan(path, content, replace(page, **changes))
    return path


@pytest.mark.parametrize(("batch", "size"), [(1, SIZE), (4, SIZE), (4, (32, 48))])
def test_a_plan_and_its_page(free, tmp_path, batch, size):
    plan = planned(free, tmp_path, batch=batch, size=size)
    write_repository(free, tmp_path / "models", plan=plan)
    folder = tmp_path / "models" / "tiny"
    files = ["1/model.plan", "1/model.plan.json", *FILES[1:]]
    assert listed(folder) == files
    assert (folder / "1" / "model.plan").read_bytes() == plan.read_bytes()
    assert (folder / "1" / "model.plan.json").read_bytes() == page_of(plan).read_bytes()
    found = told(folder)
    assert found.platform == "tensorrt_plan"
    lead = [] if batch > 1 else [1]
    assert found.max_batch_size == (batch if batch > 1 else 0)
    assert found.HasField("dynamic_batching") == (batch > 1)  # of 1 and more Triton's own rule
    assert [(t.name, list(t.dims)) for t in found.input] == [("image", [*lead, *size, 3])]
    assert [(t.name, list(t.dims)) for t in found.output] == [("labels", [*lead, *size])]
    assert [run.batch_size for run in found.model_warmup] == sorted({1, batch})
    for run in found.model_warmup:
        assert list(run.inputs["image"].dims) == [*lead, *size, 3]
    assert (folder / "warmup" / "golden").stat().st_size == size[0] * size[1] * 3


def test_plans_that_do_not_belong_here(free, fixed, tmp_path):
    for changes, wrong in (
        ({"output": "logits"}, "wanted labels"),
        ({"graph": "translator", "output": "translated"}, "translator"),
        ({"manifest_sha256": manifest_hash(fixed)}, "another bundle"),
    ):
        with pytest.raises(UserError, match=wrong):
            write_repository(free, tmp_path / "models", plan=planned(free, tmp_path, **changes))
    assert not (tmp_path / "models").exists()


def test_kserve(free, tmp_path):
    write_repository(free, tmp_path, storage='pvc://models/fleet"')
    found = yaml.safe_load((tmp_path / "kserve.yaml").read_text())
    assert (found["apiVersion"], found["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    assert found["metadata"]["name"] == "tiny"
    triton = found["spec"]["predictor"]["triton"]
    assert triton["storageUri"] == "pvc://models/fleet"
    assert triton["env"] == [{"name": "NVIDIA_TF32_OVERRIDE", "value": "0"}]
    (tmp_path / "kserve.yaml").write_text("mine")
    write_repository(free, tmp_path)
    assert (tmp_path / "kserve.yaml").read_text() == "mine"


def test_a_model_is_replaced_and_others_stay(free, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.pbtxt").write_text("theirs")
    write_repository(free, tmp_path, plan=planned(free, tmp_path))
    write_repository(free, tmp_path)
    assert listed(tmp_path / "tiny") == FILES
    assert (tmp_path / "other" / "config.pbtxt").read_text() == "theirs"


def test_a_drawing_that_the_bundle_has_no_more_is_served_no_more(free, tmp_path):
    folder = tmp_path / "bundle"
    image = frame(0)
    contents = {name: free.path(name).read_bytes() for name in free.files if "." in name}
    contents = {k: v for k, v in contents.items() if not k.startswith("golden")}
    checks = {**free.checks, "translator": {"min_psnr": 40.0}}
    drawn = {"rebuilt": [frame(1)], "translated": [image]}
    both = replace(free, folder=folder, checks=checks)
    contents[TRANSLATOR.file] = reconstructor(None)
    write_bundle(both, contents, free.golden(), drawn)
    models = tmp_path / "models"
    names = write_repository(read_bundle(folder), models)
    assert names == ["tiny", "tiny-reconstructor", "tiny-translator"]
    write_repository(free, models)
    assert not (models / "tiny-translator").exists()


def test_what_is_not_ours_is_not_lost(free, tmp_path):
    write_repository(free, tmp_path)
    mine = tmp_path / "tiny-reconstructor" / "2" / "model.onnx"
    mine.parent.mkdir()
    mine.write_bytes(b"trained for weeks")
    before = (tmp_path / "tiny" / "config.pbtxt").read_bytes()
    with pytest.raises(UserError, match=r"2/model\.onnx"):
        write_repository(free, tmp_path, max_batch=3)
    assert mine.read_bytes() == b"trained for weeks"
    assert (tmp_path / "tiny" / "config.pbtxt").read_bytes() == before


def test_wishes_that_cannot_be_met(free, tmp_path):
    with pytest.raises(UserError, match="1 frame or more"):
        write_repository(free, tmp_path, max_batch=0)
    with pytest.raises(UserError, match="in the bundle itself"):
        write_repository(free, free.folder / "models")
    (tmp_path / "tiny").write_text("a file")
    with pytest.raises(UserError, match="is a file"):
        write_repository(free, tmp_path)
    with pytest.raises(Failure, match="could not write"):
        write_repository(free, tmp_path / "tiny" / "models")


def test_names_are_quoted_and_enumerations_are_not():
    given = TritonTensor('i"\\é', "TYPE_UINT8", (-1, -1, 3))
    text = config(TritonModel("a-b", "onnxruntime_onnx", given, (), 0), (4, 3))
    found = text_format.Parse(text, ModelConfig())
    assert found.input[0].name == 'i"\\é'
    assert json.dumps(list(found.model_warmup[0].inputs['i"\\é'].dims)) == "[1, 4, 3]"
