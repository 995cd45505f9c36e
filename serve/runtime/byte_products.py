"""Whether this CPU sums products of bytes exactly.

x86 without VNNI adds two products of an unsigned and a signed byte in 16 bits, and what is more
stays at the largest: an INT8 network then answers something else. ONNX Runtime has exact kernels,
which cost about a third of the speed there; it does not choose them by itself. They are not needed
where no two neighbouring weights are so large: see `neighbours`, by which the exporter chooses the
scales of its weights.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

OPTION = "session.x64quantprecision"
VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
CPUINFO = Path("/proc/cpuinfo")
MOST = 128
"""Of the sum of two weights: 255 times it is the largest that 16 bits hold."""


@cache
def saturates() -> bool:
    """Whether the fast kernels would; also where an x86 CPU does not say what it has."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return True
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not VNNI & set(flags.split())


def keep_exact(options: Any, graph: bytes) -> None:
    """Asks for the exact kernels in ONNX Runtime's session options, where the fast ones are not
    exact for the ONNX file's content `graph` on this CPU."""
    if saturates() and not fits(graph):
        options.add_session_config_entry(OPTION, "1")


def told() -> str:
    """For a report: what was done; "" where nothing had to be."""
    return f" without VNNI ({OPTION}=1 where int8 weights need it)" if saturates() else ""


def filled(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights [channels, inputs, ...] of a convolution as a server runs most of them (see
    `serve.runtime.rewrites.channels_in_fours`): with zeros for inputs up to a multiple of four, but
    for one input alone."""
    short = -weights.shape[1] % 4 if weights.shape[1] > 1 else 0
    return np.pad(weights, ((0, 0), (0, short), *((0, 0),) * (weights.ndim - 2)))


def neighbours(weights: NDArray[Any]) -> NDArray[Any]:
    """[channels, ...] weights of output channels -> [channels]: the largest |sum| of two whose
    products are added in 16 bits.

    These are the first and second, the third and fourth, ... of a channel, at each position of a
    kernel [channels, inputs, height, width] the inputs one after the other.
    """
    row = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
    row = np.pad(row, ((0, 0), (0, row.shape[1] % 2)))
    return np.abs(row[:, ::2] + row[:, 1::2]).max(1)


def fits(graph: bytes) -> bool:
    """Whether no two neighbouring int8 weights of an ONNX file's content exceed 16 bits; False
    where its form is not the exporter's. What quantises nothing fits."""
    if b"uantizeLinear" not in graph and b"QLinear" not in graph:
        return True
    nodes = onnx.load_from_string(graph).graph
    made = {name: node for node in nodes.node for name in node.output}
    constants = {tensor.name: tensor for tensor in nodes.initializer}
    for node in nodes.node:
        if "QLinear" in node.op_type or "Integer" in node.op_type:
            return False
        pair = made.get(node.input[1]) if node.op_type in ("Conv", "Gemm", "MatMul") else None
        if pair is None or pair.op_type != "DequantizeLinear":
            continue
        weights = _bytes(pair, made, constants)
        if weights is None or node.op_type != "Conv" or (neighbours(weights) > MOST).any():
            return False
    return True


def _bytes(
    pair: NodeProto, made: dict[str, NodeProto], constants: dict[str, onnx.TensorProto]
) -> NDArray[np.int64] | None:
    """The int8 weights of a convolution's DequantizeLinear, [channels, ...]; None for others."""
    before = made.get(pair.input[0])
    names = [pair.input[0]] if before is None else list(before.input)
    if not all(name in constants for name in names):
        return None
    given, *rest = (numpy_helper.to_array(constants[name]) for name in names)
    if before is None:
        return given.astype(np.int64) if given.dtype == np.int8 else None
    if before.op_type != "QuantizeLinear" or len(rest) != 2 or rest[1].dtype != np.int8:
        return None
    scales = rest[0].reshape([-1] + [1] * (given.ndim - 1))
    return np.clip(np.rint(given / scales), -128, 127).astype(np.int64)
