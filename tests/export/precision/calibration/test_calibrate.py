from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.precision.calibration import calibrate as module
from export.precision.calibration import statistics
from export.precision.calibration.calibrate import calibrate
from export.precision.calibration.partial_session import PartialSession
from export.precision.calibration.ranges import FORMAT
from export.precision.graph_index import Flow, prepared
from export.precision.int8_nodes import sites
from roadshift import Failure, UserError


@pytest.fixture
def runs(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes that the graph was run on."""
    shapes: list[tuple[int, ...]] = []

    class Listening(PartialSession):
        def __call__(self, frame):
            shapes.append(frame.shape)
            return super().__call__(frame)

    monkeypatch.setattr(module, "PartialSession", Listening)
    monkeypatch.setattr(statistics, "PartialSession", Listening)
    return shapes


def values_of(model: onnx.ModelProto, name: str, frames, run) -> np.ndarray:
    part = prepared(model)
    del part.graph.output[:]
    part.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    return run(part, frames)[name]


def test_minmax_is_what_the_tensors_reached(graph, street) -> None:
    ranges = calibrate(graph, street.frames, "minmax")
    assert ranges.bounds.keys() == sites(Flow(prepared(graph))).tensors
    assert len(ranges.bounds) >= 6
    for name, (low, high) in ranges.bounds.items():
        values = values_of(graph, name, street.frames, street.run)
        assert (low, high) == pytest.approx((values.min(), values.max()), rel=1e-4, abs=1e-5)
        assert ranges.largest[name] == max(abs(low), abs(high)) == ranges.bound(name)
    flow = Flow(prepared(graph))
    last = [n.output[0] for n in flow.nodes if n.name in flow.tail and flow.is_weighted(n)]
    assert len(last) == 2
    for name in last:
        wanted = np.abs(values_of(graph, name, street.frames, street.run)).max()
        assert ranges.largest[name] == pytest.approx(wanted, rel=1e-4)
    behind = {name for n in flow.nodes if n.name in flow.tail for name in n.output} - set(last)
    assert not behind & ranges.largest.keys()


def test_the_means_of_the_channels_that_convolutions_read(graph, street) -> None:
    means = calibrate(graph, street.frames, "minmax").means
    flow = Flow(prepared(graph))
    read = {n.input[0] for n in flow.nodes if n.op_type == "Conv" and flow.is_weighted(n)}
    assert means.keys() == read
    for name in read:
        values = values_of(graph, name, street.frames, street.run)
        assert means[name] == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_the_other_methods_stay_within_the_extremes(graph, street, method) -> None:
    wide = calibrate(graph, street.frames, "minmax")
    ranges = calibrate(graph, street.frames, method)
    for name, (low, high) in ranges.bounds.items():
        assert wide.bounds[name][0] - 1e-6 <= low <= high <= wide.bounds[name][1] + 1e-6
        assert ranges.bound(name) > 0.1 * wide.bound(name)
    assert ranges.largest == wide.largest
    cut = [name for name in ranges.bounds if ranges.bound(name) < 0.999 * wide.bound(name)]
    if method == "percentile":  # it cuts off one value in 100000, and most tensors here have fewer
        many = [n for n in cut if values_of(graph, n, street.frames, street.run).size > 100_000]
        assert cut == many
    else:
        assert cut


def test_a_rare_outlier_is_cut_off_by_percentile() -> None:
    counts = np.zeros(4096, np.int64)
    counts[2048:2148] = 10_000  # up to 100 / 2048 of the largest
    counts[-1] = 1
    low, high = module._threshold(counts, (0.0, 2048.0), 2048.0, "percentile")
    assert (low, high) == pytest.approx((0.0, 100.0), abs=1.5)


def test_zeros_of_relu_do_not_decide_the_entropy_threshold() -> None:
    """A half-normal distribution, with and without as many exact zeros again a hundred times."""
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    counts = np.histogram(values, 1024, (-values.max(), values.max()))[0]
    extremes = (0.0, float(values.max()))
    alone = module._threshold(counts, extremes, extremes[1], "entropy")[1]
    counts[512] += 20_000_000
    assert module._threshold(counts, extremes, extremes[1], "entropy")[1] == alone
    assert 2.5 < alone <= extremes[1] + 1e-6


def test_one_frame_at_a_time_of_any_size(graph, street, runs) -> None:
    frames = [street.frame(0), street.frame(1, (48, 80)), street.frame(2)]
    assert calibrate(graph, frames, "percentile").frames == 3
    assert runs == [(64, 96, 3), (48, 80, 3), (64, 96, 3)] * 2


def test_the_order_of_frames_of_other_brightness_does_not_matter(graph, street) -> None:
    dark = (street.frame(0) // 40).astype(np.uint8)
    frames = [dark, street.frame(1)]
    ranges, other = (calibrate(graph, f, "percentile") for f in (frames, frames[::-1]))
    assert ranges.bounds == other.bounds
    assert ranges.fingerprint != other.fingerprint


def test_the_cache_is_used_without_running_the_graph(graph, street, runs, tmp_path) -> None:
    cache = tmp_path / "deep" / "ranges.json"
    first = calibrate(graph, street.frames, "entropy", cache)
    assert runs
    runs.clear()
    assert calibrate(graph, street.frames, "entropy", cache) == first
    assert not runs


@pytest.mark.parametrize("other", ["method", "frames", "graph"])
def test_a_cache_of_something_else_is_not_used(graph, street, runs, tmp_path, other) -> None:
    cache = tmp_path / "ranges.json"
    first = calibrate(graph, street.frames, "minmax", cache)
    runs.clear()
    method = "percentile" if other == "method" else "minmax"
    frames = street.frames[:3] if other == "frames" else street.frames
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    if other == "graph":
        weight = next(t for t in changed.graph.initializer if t.name.endswith("stem.0.weight"))
        weight.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(weight), weight.name))
    second = calibrate(changed, frames, method, cache)
    assert runs
    assert second.fingerprint != first.fingerprint
    runs.clear()
    assert calibrate(changed, frames, method, cache) == second
    assert not runs


@pytest.mark.parametrize("damage", ["cut", "format", "bounds", "infinite", "binary", "list"])
def test_a_damaged_cache_is_made_again(graph, street, runs, tmp_path, damage) -> None:
    cache = tmp_path / "ranges.json"
    first = calibrate(graph, street.frames[:1], "minmax", cache)
    runs.clear()
    values = json.loads(cache.read_text())
    name = next(iter(values["bounds"]))
    if damage == "format":
        values["format"] += 1
    elif damage == "bounds":
        values["bounds"][name] = [1.0]
    elif damage == "infinite":
        values["bounds"][name] = [0.0, float("inf")]
    text = json.dumps([values] if damage == "list" else values)
    cache.write_bytes(b"\xff\xfe" if damage == "binary" else text.encode())
    if damage == "cut":
        cache.write_text(text[: len(text) // 2])
    assert calibrate(graph, street.frames[:1], "minmax", cache) == first
    assert runs
    assert json.loads(cache.read_text())["format"] == FORMAT


def test_an_empty_calibration_set(graph) -> None:
    with pytest.raises(UserError, match="calibration set is empty"):
        calibrate(graph, [], "minmax")


def test_frames_that_the_graph_does_not_take(graph, street) -> None:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(graph)
    axes = fixed.graph.input[0].type.tensor_type.shape.dim
    axes[1].dim_value, axes[2].dim_value = 64, 96
    with pytest.raises(UserError, match=r"frame 1 is 48x80 and the graph takes 64x96: give"):
        calibrate(fixed, [street.frame(0), street.frame(1, (48, 80))], "minmax")
    with pytest.raises(UserError, match=r"frame 0 is float32 \[64, 96, 3\]: give RGB"):
        calibrate(graph, [street.frame(0).astype(np.float32)], "minmax")
    with pytest.raises(UserError, match=r"frame 0 is uint8 \[64, 96\]: give RGB"):
        calibrate(graph, [street.frame(0)[..., 0]], "minmax")
    with pytest.raises(UserError, match=r"does not take a calibration frame of 0x0: .*; give"):
        calibrate(graph, [np.zeros((0, 0, 3), np.uint8)], "minmax")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_values_that_are_no_numbers(graph, street, poison) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(graph)
    bias = next(t for t in broken.graph.initializer if t.name.endswith("up.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[5] = poison
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    with pytest.raises(Failure, match="is NaN or infinite on a calibration frame"):
        calibrate(broken, street.frames, "minmax")


def test_ranges_of_another_graph(graph, street) -> None:
    ranges = calibrate(graph, street.frames[:1], "minmax")
    with pytest.raises(Failure, match="knows nothing of the tensor 'elsewhere'"):
        ranges.bound("elsewhere")
