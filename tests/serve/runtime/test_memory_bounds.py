"""What a large frame takes, and what is left of it: resident memory of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CLASSES = 19
LARGE = (3072, 4096)
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it"
)

IN_A_PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
from export.bundle import read_bundle
from serve.runtime.engine import Engine

def now(key):
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key))
    return int(line.split()[1]) / 1024

folder, usual, large, n, confidence = json.loads(sys.argv[1])
engine = Engine(read_bundle(Path(folder)), threads=1)
def segment(size, n=1):
    frames = np.full((n, *size, 3), 99, np.uint8)
    frames[:, ::7, ::5] = 200
    answer = engine.segment(frames, confidence=confidence)
    assert answer.labels.shape == (n, *size)
for _ in range(2):
    segment(usual)
before = now("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
segment(large, n)
segment(usual)
print(json.dumps({"peak": now("VmHWM") - before, "left": now("VmRSS") - before}))
"""


def network(work: tuple[int, int] | None) -> bytes:
    """Frames, resized to `work`, 8 channels at their size, 19 classes at a quarter, upsampled."""
    random = np.random.default_rng(0)
    constants = {
        "wide": random.normal(size=(8, 3, 3, 3)),
        "narrow": random.normal(size=(CLASSES, 8, 4, 4)) / 500,
        "most": np.array(255),
    }
    integers = {"one": [1], "c": [3], "classes": [CLASSES], "work": work or [1, 1]}
    node = helper.make_node
    nodes = [
        node("Shape", ["image"], ["n"], start=0, end=1),
        node("Shape", ["image"], ["size"], start=1, end=3),
        node("Transpose", ["image"], ["moved"], perm=[0, 3, 1, 2]),
        node("Cast", ["moved"], ["frame"], to=TensorProto.FLOAT),
        node("Concat", ["n", "c", "work"], ["wanted"], axis=0),
        node("Resize", ["frame", "", "", "wanted"], ["planes"], mode="linear"),
        node("Conv", ["planes" if work else "frame", "wide"], ["channels"], pads=[1, 1, 1, 1]),
        node("Conv", ["channels", "narrow"], ["logits"], strides=[4, 4]),
        node("Concat", ["n", "classes", "size"], ["whole"], axis=0),
        node("Resize", ["logits", "", "", "whole"], ["full"], mode="linear"),
        node("ArgMax", ["full"], ["best"], axis=1, keepdims=0),
        node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
        node("Softmax", ["full"], ["shares"], axis=1),
        node("ReduceMax", ["shares", "one"], ["sure"], keepdims=0),
        node("Mul", ["sure", "most"], ["scaled"]),
        node("Round", ["scaled"], ["rounded"]),
        node("Cast", ["rounded"], ["confidence"], to=TensorProto.UINT8),
    ]
    if not work:
        del nodes[4:6]
    value = helper.make_tensor_value_info
    maps = ["N", "H", "W"]
    graph = helper.make_graph(
        nodes,
        "wide",
        [value("image", TensorProto.UINT8, [*maps, 3])],
        [
            value("labels", TensorProto.UINT8, maps),
            value("confidence", TensorProto.UINT8, maps),
            value("logits", TensorProto.FLOAT, ["N", CLASSES, "h", "w"]),
        ],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
        + [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in integers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def megabytes(tmp_path, kit):
    """Beyond what was resident after two frames of 256x512: at most, and after two more frames."""

    def of(work=None, large=LARGE, n=1, *, confidence=False):
        bundle = kit.make_bundle(
            tmp_path / "b",
            graph=network(work),
            route="exact",
            classes=tuple(f"class {i}" for i in range(CLASSES)),
            palette=((0, 0, 0),) * CLASSES,
            provenance={"work_size": work},
        )
        asked = json.dumps([str(bundle.folder), (256, 512), large, n, confidence])
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, asked], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return of


def test_the_confidence_of_a_large_frame_takes_no_more_than_the_frame(megabytes):
    """Upsampled, the logits of all classes are 956 MB; the frame is 38, each answer 13."""
    found = megabytes((256, 512), confidence=True)
    assert found["peak"] < 200
    assert found["left"] < 50


def test_a_batch_of_small_frames_takes_no_more_than_a_few(megabytes):
    """All at once, 200 frames worked at 256x512 are 840 MB in the wide layer alone.

    What 40 take, run in two and a half times 16, depends on the CPU: its instructions ask for
    other layouts.
    """
    few, found = (megabytes((256, 512), (16, 16), n) for n in (40, 200))
    assert found["peak"] < few["peak"] + 20
    assert found["left"] < 100


def test_what_a_large_frame_took_is_given_back(megabytes):
    """The wide layer's output alone is 403 MB."""
    found = megabytes()
    assert found["peak"] > 403
    assert found["left"] < 100
