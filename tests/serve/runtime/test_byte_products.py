"""INT8 on x86 without VNNI: every session asks for exact kernels where it has to."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.verification.cpu_session import CpuSession
from serve.runtime import byte_products
from serve.runtime.byte_products import OPTION, fits, told
from serve.runtime.onnx_runtime import Runtime


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """A machine with these flags; None where it does not say."""

    def is_(machine: str, flags: str | None) -> None:
        monkeypatch.setattr(byte_products.platform, "machine", lambda: machine)
        file = tmp_path / "cpuinfo"
        if flags is not None:
            file.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n")
        monkeypatch.setattr(byte_products, "CPUINFO", file)
        byte_products.saturates.cache_clear()

    yield is_
    byte_products.saturates.cache_clear()


@pytest.mark.parametrize(
    ("machine", "flags", "wanted"),
    [
        ("x86_64", "avx2 avx512f", True),
        ("AMD64", None, True),
        ("x86_64", "avx2 avx_vnni", False),
        ("x86_64", "avx512f avx512_vnni", False),
        ("aarch64", "", False),
    ],
)
def test_which_cpus_saturate(cpu, machine, flags, wanted) -> None:
    cpu(machine, flags)
    assert byte_products.saturates() is wanted
    assert (OPTION in told()) is wanted


def quantised(*weights: int, folded: bool = True) -> bytes:
    """A 1x1 convolution of these int8 weights of its one output; `folded`, or as float32."""
    value = np.array(weights, np.int8).reshape(1, -1, 1, 1)
    constants = {
        "w": value if folded else value * np.float32(0.5),
        "s": np.float32([0.5]),
        "z": np.int8([0]),
        "x_s": np.float32(1),
        "x_z": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "x_s", "x_z"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["w" if folded else "w_q", "s", "z"], ["w_d"], axis=0),
        helper.make_node("Conv", ["x_d", "w_d"], ["y_f"]),
        helper.make_node("QuantizeLinear", ["y_f", "y_s", "y_z"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "y_s", "y_z"], ["y"]),
    ]
    constants |= {"y_s": np.float32(500), "y_z": np.uint8(0)}
    if not folded:
        nodes.insert(0, helper.make_node("QuantizeLinear", ["w", "s", "z"], ["w_q"], axis=0))
    shapes = [("x", [1, len(weights), 64, 64]), ("y", [1, 1, 64, 64])]
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes)
    arrays = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], arrays)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ((127, 1, 64, 64), True),
        ((127, 2, 0, 0), False),
        ((0, 127, 127, 0), True),  # no neighbours: the second and the third
        ((-64, -65), False),
        ((127, -127), True),
        ((100, 28, 127), True),
    ],
)
def test_which_weights_fit(weights, wanted, folded) -> None:
    assert fits(quantised(*weights, folded=folded)) is wanted


def test_what_fits_is_exact_in_the_fast_kernels() -> None:
    """All inputs are 255, so every pair of products is as large as it can be."""
    for weights in ((127, 1) * 16, (-1, -127, 64, 64) * 8):
        graph = quantised(*weights)
        assert fits(graph)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        x = np.full((1, len(weights), 64, 64), 255, np.float32)
        step = 500 * np.clip(np.rint(0.5 * 255 * sum(weights) / 500), 0, 255)
        assert (session.run(None, {"x": x})[0] == step).all()


@pytest.mark.parametrize(
    ("flags", "weights", "wanted"),
    [("avx2", (127, 2), "1"), ("avx2", (127, 1), ""), ("avx_vnni", (127, 2), "")],
)
def test_every_session_asks_for_it(cpu, monkeypatch, flags, weights, wanted) -> None:
    cpu("x86_64", flags)
    asked: list[str] = []
    real = onnxruntime.InferenceSession

    def session(graph, options, **more):
        try:
            asked.append(options.get_session_config_entry(OPTION))
        except RuntimeError:  # not set
            asked.append("")
        return real(graph, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    graph = quantised(*weights)
    CpuSession(graph)
    Runtime("cpu", 1).session(graph, "a graph")
    assert asked == [wanted, wanted]
