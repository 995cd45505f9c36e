"""What is asked of TensorRT, in each version's own words, on a double that has no other ones."""

import _thread
import signal
import threading

import pytest
from cuda_double import recorded
from tiny_plan import SIZE, machine, segmentor, wish

from export.tensorrt.build import build
from export.tensorrt.uint8_border import at_border
from roadshift import Failure
from serve.runtime.rewrites.prune import prune


def nothing(phase, done, total):
    pass


@pytest.fixture(scope="module")
def graph():
    return at_border(prune(segmentor(None), ["labels"]), (-1, *SIZE, 3))


@pytest.fixture(params=recorded("tensorrt"))
def device(request):
    with machine(request.param) as found:
        yield found


@pytest.fixture
def old():
    with machine("10.3.0") as found:
        yield found


def asked(device, name):
    return [call[1:] for call in device.trt._calls if call[0] == name]


def test_the_order_and_what_is_never_asked(device, graph, tmp_path):
    plan = build(device.trt, graph, wish(), tmp_path / "cache", nothing)
    assert graph in plan
    names = [call[0] for call in device.trt._calls]
    assert names == [
        "Builder.create_network",
        "OnnxParser.parse",
        "IBuilderConfig.clear_flag",
        "IBuilderConfig.builder_optimization_level",
        "IBuilderConfig.add_optimization_profile",
        "IBuilderConfig.create_timing_cache",
        "IBuilderConfig.progress_monitor",
        "Builder.build_serialized_network",
    ]


def test_the_network_is_strongly_typed(device, graph, tmp_path):
    build(device.trt, graph, wish(), tmp_path / "cache", nothing)
    typed = int(device.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert asked(device, "Builder.create_network") == [(1 << typed,)]
    assert asked(device, "IBuilderConfig.clear_flag") == [("TF32",)]
    assert asked(device, "IBuilderConfig.set_flag") == []


def test_options(device, graph, tmp_path):
    options = {
        "version_compatible": True,
        "hardware_compatible": True,
        "optimization_level": 5,
        "workspace": 256,
    }
    build(device.trt, graph, wish(**options), tmp_path / "cache", nothing)
    level = device.trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert asked(device, "IBuilderConfig.set_flag") == [("VERSION_COMPATIBLE",)]
    assert asked(device, "IBuilderConfig.hardware_compatibility_level") == [(level,)]
    assert asked(device, "IBuilderConfig.builder_optimization_level") == [(5,)]
    assert asked(device, "IBuilderConfig.set_memory_pool_limit") == [("WORKSPACE", 256 << 20)]


def test_the_profile_is_one_to_the_most_images(device, graph, tmp_path):
    build(device.trt, graph, wish(batch=4), tmp_path / "cache", nothing)
    profiles = asked(device, "IBuilderConfig.add_optimization_profile")
    assert profiles == [([1, 16, 24, 3], [4, 16, 24, 3], [4, 16, 24, 3])]


def test_the_timings_are_kept_and_used_again(device, graph, tmp_path):
    cache = tmp_path / "new/cache"
    build(device.trt, graph, wish(), cache, nothing)
    kept = cache.read_bytes()
    assert kept == b"timings of " + device.trt._version.encode()
    build(device.trt, graph, wish(), cache, nothing)
    assert asked(device, "IBuilderConfig.create_timing_cache") == [(b"",), (kept,)]


def test_timings_of_another_version_are_replaced(old, graph, tmp_path):
    cache = tmp_path / "cache"
    cache.write_bytes(b"timings of 8.5")
    build(old.trt, graph, wish(), cache, nothing)
    created = asked(old, "IBuilderConfig.create_timing_cache")
    assert created == [(b"timings of 8.5",), (b"",)]
    assert cache.read_bytes() == b"timings of 10.3.0"


def test_timings_of_another_version_are_no_reason(old, graph, tmp_path):
    cache = tmp_path / "cache"
    cache.write_bytes(b"timings of 8.5")
    old.trt._faults["build"] = "no memory"
    with pytest.raises(Failure, match="of 16x24: no memory; free"):
        build(old.trt, graph, wish(), cache, nothing)
    assert cache.read_bytes() == b"timings of 8.5"


def test_progress(old, graph, tmp_path):
    seen = []
    build(old.trt, graph, wish(), tmp_path / "cache", lambda *step: seen.append(step))
    assert seen == [("Building", done, 2) for done in (0, 1, 2, 2)]


def test_ctrl_c_stops_the_build(old, graph, tmp_path):
    """The signal arrives where Python runs, which is in the progress alone."""

    def interrupted(phase, done, total):
        if done == 1:
            _thread.interrupt_main()
            threading.Event().wait(5)

    # A shell starts what it puts into the background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            build(old.trt, graph, wish(), tmp_path / "cache", interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "cache").exists()


def test_an_operator_that_the_target_lacks(device, graph, tmp_path):
    device.trt._lacks.add("Conv")
    version = device.trt._version.replace(".", r"\.")
    with pytest.raises(
        Failure,
        match=rf"TensorRT {version} does not take the operator Conv \(node ''\) of the segmentor: "
        "No importer registered for it; use a newer TensorRT, or run",
    ):
        build(device.trt, graph, wish(), tmp_path / "cache", nothing)


def test_bytes_between_the_nodes_are_what_the_parser_refuses(device, tmp_path):
    """Without export.tensorrt.uint8_border no bundle's graph would parse."""
    whole = prune(segmentor(None), ["labels"])
    with pytest.raises(Failure, match=r"operator Transpose \(node 'first'\) .* intermediate"):
        build(device.trt, whole, wish(), tmp_path / "cache", nothing)


def test_several_errors(old, graph, tmp_path):
    old.trt._lacks.update({"Conv", "Resize", "ArgMax"})
    with pytest.raises(Failure, match=r"operator Conv .* for it; and 2 more; use"):
        build(old.trt, graph, wish(), tmp_path / "cache", nothing)


@pytest.mark.parametrize(
    ("fault", "said", "match"),
    [
        ("builder", "no kernel image", r"TensorRT 10\.3\.0 does not start .*: no kernel image; ch"),
        ("parse", "", r"does not parse the segmentor, without words"),
        ("build", "no memory", r"not build the segmentor in fp32 for 1 .* of 16x24: no memory; fr"),
        ("profile", "", r"refuses 1 frame\(s\) of 16x24 for this graph, whose input is \(-1, 16"),
        ("set_shape", "min > max", r"refuses frames of 16x24: min > max"),
    ],
)
def test_what_tensorrt_cannot_do(old, graph, tmp_path, fault, said, match):
    old.trt._faults[fault] = said
    with pytest.raises(Failure, match=match):
        build(old.trt, graph, wish(), tmp_path / "cache", nothing)
    assert list(tmp_path.iterdir()) == []
