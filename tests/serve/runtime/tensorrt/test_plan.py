"""Plans on a double: TensorRT's calls run with ONNX Runtime, the device's memory is the host's."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from tiny_plan import SIZE, answer, frame, machine, make_bundle, segmentor, wish

from export.bundle.plan_file import read_plan, write_plan
from export.tensorrt.make import make_plan
from roadshift import Failure, UserError
from serve.runtime.tensorrt.plan import Plan


def nothing(phase, done, total):
    pass


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def paths(bundle, tmp_path_factory):
    """Plans of labels, of logits, and of drawings; for up to three frames."""
    out = tmp_path_factory.mktemp("plans")
    with machine():
        return {
            output: make_plan(bundle, wish(graph=graph, output=output, batch=3), out, nothing)[0]
            for graph, output in [
                ("segmentor", "labels"),
                ("segmentor", "logits"),
                ("reconstructor", "image"),
            ]
        }


@pytest.fixture
def device():
    with machine() as found:
        yield found


@pytest.fixture
def opened(device, bundle, paths):
    """Opens a plan; all memory must be given back when it is closed."""
    plans = []

    def of(output="labels", **options):
        plans.append(Plan.open(paths[output], bundle, **options))
        return plans[-1]

    yield of
    for plan in plans:
        plan.close()
    assert device.cuda._held == 0


def wanted(images, output="labels"):
    return np.stack([answer(segmentor(None), image, output) for image in images])


def frames(*seeds):
    return np.stack([frame(seed) for seed in seeds])


@pytest.mark.parametrize("capture", [True, False])
def test_labels(opened, device, capture):
    plan = opened(capture=capture)
    images = frames(1, 2)
    for _ in range(2):
        found = plan.run(images, ["labels"])["labels"]
        assert found.dtype == np.uint8
        assert (found == wanted(images)).all()
    assert len(np.unique(found)) > 1
    assert plan.captured == capture
    launches = device.cuda._calls.count("cudaGraphLaunch")
    executed = [call for call in device.trt._calls if call[0].endswith("execute_async_v3")]
    assert (launches, len(executed)) == ((2, 2) if capture else (0, 2))


def test_an_answer_is_the_callers_own(opened):
    plan = opened()
    first = plan.run(frames(1), ["labels"])["labels"]
    kept = first.copy()
    plan.run(frames(2), ["labels"])
    assert (first == kept).all()


def test_another_number_of_frames_is_recorded_anew(opened, device):
    plan = opened()
    for seeds in [(1,), (2, 3, 4), (5,), (6, 7)]:
        images = frames(*seeds)
        assert (plan.run(images, ["labels"])["labels"] == wanted(images)).all()
    assert device.cuda._calls.count("cudaStreamBeginCapture") == 4
    assert len(device.cuda._graphs) == 1


@pytest.mark.parametrize("where", ["capture", "cudaStreamEndCapture"])
def test_a_plan_that_cannot_be_recorded_runs_without(opened, device, where):
    plan = opened()
    if where == "capture":
        device.trt._faults["capture"] = "yes"
    else:
        device.cuda._faults.add(where)
    images = frames(1)
    assert (plan.run(images, ["labels"])["labels"] == wanted(images)).all()
    assert not plan.captured
    assert device.cuda._graphs == []
    device.trt._faults["execute"] = "broken"
    with pytest.raises(Failure, match="TensorRT could not run: broken; build"):
        plan.run(images, ["labels"])


def test_logits_finished_on_the_cpu(opened):
    plan = opened("logits", threads=1)
    images = frames(1, 2, 3)
    found = plan.run(images, ["logits", "labels"])
    assert (found["logits"] == wanted(images, "logits")).all()
    assert (found["labels"] == wanted(images)).all()
    assert list(plan.run(images, ["labels"])) == ["labels"]


def test_drawings(opened):
    plan = opened("image")
    labels = np.random.default_rng(0).integers(0, 3, (1, *SIZE), dtype=np.uint8)
    assert plan.run(labels, ["image"])["image"].shape == (1, *SIZE, 3)
    assert plan.name == "tiny-reconstructor"
    assert plan.check_golden()["worst"] is None


def test_frames_that_are_not_in_one_piece(opened):
    plan = opened()
    images = frames(1, 2)[:, ::-1, :, ::-1]
    assert (plan.run(images, ["labels"])["labels"] == wanted(images)).all()


def test_golden_frames(opened):
    plan = opened()
    assert plan.name == "tiny"
    assert plan.check_golden()["worst"] == 1


def test_golden_frames_that_come_out_otherwise(opened, monkeypatch):
    plan = opened()
    monkeypatch.setattr(plan, "run", lambda images, _: {"labels": wanted(images) ^ 1})
    with pytest.raises(Failure, match=r"gives 0\.0000% of a golden frame's labels .* 99\.9000%"):
        plan.check_golden()


def test_threads_at_once_get_their_own_answers(opened):
    plan, wrong = opened(), [False] * 4

    def work(seed):
        images = frames(*range(seed, seed + 1 + seed % 3))
        right = wanted(images)
        for _ in range(10):
            found = plan.run(images, ["labels"])["labels"]
            wrong[seed] |= bool((found != right).any())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not any(wrong)


@pytest.mark.parametrize(
    "shape", [(1, 16, 24), (1, 16, 25, 3), (0, 16, 24, 3), (4, 16, 24, 3)], ids=str
)
def test_frames_that_do_not_fit(opened, shape):
    with pytest.raises(UserError, match=r"takes uint8 \[n,16,24,3\], n from 1 to 3, got \["):
        opened().run(np.zeros(shape, np.uint8), ["labels"])


def test_an_output_that_it_has_not(opened):
    with pytest.raises(UserError, match="gives labels, not confidence, logits: run the bundle"):
        opened().run(frames(1), ["labels", "logits", "confidence"])
    with pytest.raises(UserError, match="gives labels, logits, not confidence"):
        opened("logits").run(frames(1), ["confidence"])


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("runtime", r"TensorRT 10\.3\.0 does not start on this machine: broken; check"),
        ("engine", "TensorRT could not load the plan: broken; build the plan again"),
        ("context", "TensorRT could not set the plan up: broken"),
    ],
)
def test_a_plan_that_does_not_load(device, bundle, paths, fault, match):
    device.trt._faults[fault] = "broken"
    with pytest.raises(Failure, match=match):
        Plan.open(paths["labels"], bundle)
    assert device.cuda._held == 0


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("cudaStreamCreateWithFlags", "CUDA could not make a stream: out of memory; check"),
        ("cudaMalloc", r"CUDA could not get 3456 bytes: out of memory"),
        ("cudaHostAlloc", r"CUDA could not pin 3456 bytes: out of memory"),
    ],
)
def test_no_memory_is_no_leak(device, bundle, paths, fault, match):
    device.cuda._faults.add(fault)
    with pytest.raises(Failure, match=match):
        Plan.open(paths["labels"], bundle)
    assert device.cuda._held == 0


def test_tensors_that_are_not_ours(device, bundle, paths):
    device.trt._faults["dtype"] = "HALF"
    with pytest.raises(
        Failure, match=r"has the tensors image .*HALF, labels .*HALF; wanted one of"
    ):
        Plan.open(paths["labels"], bundle)
    assert device.cuda._held == 0


def test_a_run_that_fails_does_not_spoil_the_next(opened, device):
    plan = opened()
    device.trt._faults["execute"] = "broken"
    with pytest.raises(Failure, match="TensorRT could not run: broken"):
        plan.run(frames(1), ["labels"])
    del device.trt._faults["execute"]
    assert plan._execution._log.errors == []
    device.trt._faults["shape"] = "broken"
    with pytest.raises(Failure, match="TensorRT could not tell the shape of n: "):
        plan.run(frames(1), ["labels"])
    del device.trt._faults["shape"]
    assert (plan.run(frames(1), ["labels"])["labels"] == wanted(frames(1))).all()


def test_another_number_of_frames_that_fails_does_not_spoil_the_first(opened, device):
    plan = opened()
    plan.run(frames(1), ["labels"])
    device.trt._faults["execute"] = "broken"
    with pytest.raises(Failure, match="broken"):
        plan.run(frames(1, 2), ["labels"])
    del device.trt._faults["execute"]
    assert (plan.run(frames(3), ["labels"])["labels"] == wanted(frames(3))).all()


@pytest.mark.parametrize(
    "call", ["cudaMemcpyAsync", "cudaStreamSynchronize", "cudaGraphLaunch", "cudaGraphInstantiate"]
)
def test_a_device_that_gives_up(opened, device, call):
    plan = opened()
    device.cuda._faults.add(call)
    with pytest.raises(Failure, match=r"CUDA could not .*: out of memory"):
        plan.run(frames(1), ["labels"])
    device.cuda._faults.clear()
    assert (plan.run(frames(1), ["labels"])["labels"] == wanted(frames(1))).all()


def test_another_gpu_or_tensorrt(bundle, paths):
    with machine(compute=(8, 9)), pytest.raises(UserError, match=r"built on Drawn GPU .* 8\.7"):
        Plan.open(paths["labels"], bundle)
    with machine("10.16.1.11"), pytest.raises(UserError, match=r"with TensorRT 10\.3\.0 and this"):
        Plan.open(paths["labels"], bundle)


def test_code_for_the_host_is_allowed_only_where_the_page_says_so(bundle, device, tmp_path):
    path, page = make_plan(bundle, wish(version_compatible=True), tmp_path, nothing)
    Plan.open(path, bundle).close()
    content, _ = read_plan(path)
    write_plan(path, content, replace(page, version_compatible=False))
    with pytest.raises(Failure, match="could not load the plan: host code is not allowed"):
        Plan.open(path, bundle)
