"""An ONNX graph becomes a plan; precision is in the graph, never in TensorRT's flags.

The network is strongly typed: on TensorRT 10 that has to be asked for (without it the types in the
graph are hints), on 11 there is nothing else. TF32 is off, since it would round what the bundle
says is float32. Not run on a GPU by us: the calls are held against the bindings of TensorRT 10.3 to
11.4 and against a recording double.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.tensorrt.options import Wish
from export.tensorrt.progress import Shown, monitor
from roadshift import Failure, hxw, replacing
from serve.runtime.tensorrt.bindings import logger, reason, started


def build(trt: Any, model: bytes, wish: Wish, cache: Path, show: Shown) -> bytes:
    """The plan of an ONNX model, its input of `wish`'s size, on the GPU at hand.

    `cache` is the file of TensorRT's timings: read, extended and written back, so a second build is
    several times faster. Raises Failure: an operator that this TensorRT lacks, or whatever else it
    says; KeyboardInterrupt when Ctrl-C stopped it.
    """
    log = logger(trt)
    builder = started(trt, trt.Builder, log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise _not_parsed(trt, parser, wish)
    config = _configured(trt, builder, wish)
    _add_profile(trt, builder, network, config, wish)
    _set_timings(config, cache)
    log.errors.clear()  # a cache of another GPU is no reason why a build fails
    config.progress_monitor = watching = monitor(trt, show)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        if watching.interrupted:
            raise KeyboardInterrupt
        raise _not_built(trt, log, wish)
    with replacing(cache) as temporary:
        temporary.write_bytes(config.get_timing_cache().serialize())
    return bytes(plan)


def _configured(trt: Any, builder: Any, wish: Wish) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.builder_optimization_level = wish.optimization_level
    if wish.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wish.workspace << 20)
    if wish.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if wish.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    return config


def _add_profile(trt: Any, builder: Any, network: Any, config: Any, wish: Wish) -> None:
    """One to `batch` images of the one size, tuned for `batch`."""
    given = network.get_input(0)
    profile = builder.create_optimization_profile()
    most = wish.shape(wish.batch)
    try:
        profile.set_shape(given.name, wish.shape(1), most, most)
    except ValueError as error:
        raise Failure(
            f"TensorRT {trt.__version__} refuses frames of {hxw(wish.size)}: {error}"
        ) from None
    if config.add_optimization_profile(profile) < 0:
        raise Failure(
            f"TensorRT {trt.__version__} refuses {wish.batch} frame(s) of {hxw(wish.size)} for "
            f"this graph, whose input is {tuple(given.shape)}: give another --size or --batch"
        )


def _set_timings(config: Any, cache: Path) -> None:
    """A timing cache, filled where the file is of this GPU and this TensorRT, and else empty."""
    saved = cache.read_bytes() if cache.is_file() else b""
    timings = config.create_timing_cache(saved)
    if timings is None or not config.set_timing_cache(timings, False):
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)


def _not_parsed(trt: Any, parser: Any, wish: Wish) -> Failure:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if not errors:
        return Failure(f"TensorRT {trt.__version__} does not parse the {wish.graph}, without words")
    first = errors[0]
    what = first.node_operator()
    where = f"the operator {what} (node {first.node_name()!r})" if what else "the graph"
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    said = " ".join(first.desc().split())
    return Failure(
        f"TensorRT {trt.__version__} does not take {where} of the {wish.graph}: {said}{more}; use "
        "a newer TensorRT, or run the bundle on ONNX Runtime (roadshift serve --provider cuda)"
    )


def _not_built(trt: Any, log: Any, wish: Wish) -> Failure:
    return Failure(
        f"TensorRT {trt.__version__} could not build the {wish.graph} in {wish.precision} for "
        f"{wish.batch} frame(s) of {hxw(wish.size)}: {reason(log)}; free memory on the GPU, or "
        "give a smaller --batch, another --workspace or --precision"
    )
