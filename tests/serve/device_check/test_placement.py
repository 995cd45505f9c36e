"""Which provider runs a node: as profiles say it, from this runtime and written by hand."""

import numpy as np
import pytest

from export.bundle import TRANSLATOR
from roadshift import Failure
from serve.device_check.placement import from_events, placement
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def node(ts, op, provider=CUDA, size=1 << 20, dur=10, **more):
    args = {"op_name": op, "provider": provider, "output_size": str(size), **more}
    return {"cat": "Node", "name": f"n{ts}_kernel_time", "ts": ts, "dur": dur, "args": args}


def run(ts):
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": 1}


def test_of_a_real_graph(exact, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = Engine(exact, threads=1)
    found = placement(engine, exact.golden()[0].image[None])
    assert found.provider == "cpu"
    # Cast, Transpose, Conv and the pooling, and what the runtime puts between them.
    assert found.nodes.keys() == {"cpu"}
    assert 3 <= found.nodes["cpu"] <= 8
    assert (found.copies, found.off_device) == (0, ())
    assert 0 < found.before < 1
    found.check()
    assert not list(tmp_path.iterdir())  # the profile is gone


def test_without_a_convolution_nothing_is_before_it(exact, kit):
    found = placement(ImageGraph(exact, TRANSLATOR, threads=1), kit.random_image(1)[None])
    assert found.nodes == {"cpu": 2}
    assert found.before is None


def test_what_the_device_cannot_take(fixed):
    with pytest.raises(Failure, match="the engine failed on images while profiled"):
        placement(Engine(fixed, threads=1), np.zeros((1, 8, 8, 3), np.uint8))


def test_only_the_last_run_counts_and_only_kernels():
    fence = {**node(21, "Conv"), "name": "n21_fence_before"}
    events = [run(0), node(1, "Conv"), run(20), fence, node(25, "Conv"), node(22, "Cast")]
    assert from_events(events, "cuda").nodes == {"cuda": 2}


def test_the_share_before_the_first_convolution():
    events = [run(0), node(1, "Cast", CPU, dur=20), node(2, "Shape", CPU, dur=0)]
    events += [node(3, "Resize", CPU, dur=10), node(4, "QLinearConv", CPU, dur=60)]
    events += [node(5, "Add", CPU, dur=10)]
    assert from_events(events, "cpu").before == pytest.approx(0.3)
    on_gpu = [{**event, "args": {**event.get("args", {}), "provider": CUDA}} for event in events]
    assert from_events([run(0), *on_gpu[1:]], "cuda").before is None


def test_shape_arithmetic_may_run_on_the_cpu():
    events = [run(0), node(1, "Conv"), node(2, "Concat", CPU, 32, activation_size="16")]
    events += [node(3, "Shape", CPU, 32, activation_size="6291456")]
    found = from_events(events, "cuda")
    assert found.nodes == {"cuda": 1, "cpu": 2}
    assert found.off_device == ()
    found.check()


def test_work_on_the_cpu_is_a_failure():
    events = [run(0), node(1, "Conv"), node(2, "MemcpyToHost"), node(3, "ArgMax", CPU)]
    events += [node(4, "MemcpyFromHost"), node(5, "ReduceMax", CPU, 8, activation_size="4096")]
    found = from_events(events, "cuda")
    assert found.copies == 2
    assert [(off.node, off.op, off.provider) for off in found.off_device] == [
        ("n3", "ArgMax", "cpu"),
        ("n5", "ReduceMax", "cpu"),
    ]
    with pytest.raises(Failure, match=r"node 'n3' \(ArgMax, and 1 more\) runs on the CPU although"):
        found.check()


def test_tensorrt_may_leave_nodes_to_cuda_but_not_all():
    tensorrt = node(1, "TRTKernel_graph", "TensorrtExecutionProvider")
    events = [run(0), tensorrt, node(2, "MemcpyToHost"), node(3, "Resize")]
    found = from_events(events, "tensorrt")
    assert found.nodes == {"tensorrt": 1, "cuda": 2}
    assert [off.op for off in found.off_device] == ["Resize"]
    found.check()
    with pytest.raises(Failure, match="no node runs on tensorrt, which was asked for"):
        from_events([run(0), node(2, "Resize")], "tensorrt").check()


def test_a_provider_of_another_name_is_told_by_it():
    found = from_events([run(0), node(1, "Conv", "ArmNNExecutionProvider")], "cpu")
    assert found.nodes == {"ArmNNExecutionProvider": 1}
