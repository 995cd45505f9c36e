"""A TensorRT that records what is asked of it and runs plans with ONNX Runtime: for tests, only.

It offers exactly the names that api.json recorded of the real bindings of one version, and refuses
what the real parser refuses that a CPU can tell: uint8 between the nodes, and operators in `lacks`.
"""

from __future__ import annotations

import json
from typing import Any

import onnx
from cuda_double import Cuda, members, recorded
from tensorrt_offered import Offered
from tensorrt_plan_double import Context, Engine, Runtime

ENUMS = (
    "BuilderFlag DataType HardwareCompatibilityLevel MemoryPoolType NetworkDefinitionCreationFlag "
    "TensorIOMode"
).split()


class TensorRT:
    """The module `tensorrt` of one version; `calls` is what was asked, `faults` what goes wrong.

    Faults: "builder", "build", "profile", "engine", "context", "execute", "shape", "cancel"; a text
    is what TensorRT says of it.
    """

    def __init__(self, version: str, cuda: Cuda) -> None:
        self._api, self._cuda = recorded("tensorrt")[version], cuda
        self._calls: list[tuple] = []
        self._faults: dict[str, str] = {}
        self._lacks: set[str] = set()
        self._version = version
        self._enums = {name: self._enum(name) for name in ENUMS}
        severity = self._enum("ILogger.Severity")
        self._logger = type("ILogger", (), {"Severity": severity})
        self._monitor = type("IProgressMonitor", (), {})

    def _enum(self, name: str):
        return members(name, set(self._api[name]) - {"__init__", "value", "name"})

    def __getattr__(self, name: str) -> Any:
        if name not in self._api[""]:
            raise AttributeError(f"TensorRT {self._version} has no {name}, or it is not recorded")
        if name in self._enums:
            return self._enums[name]
        made = {"Builder": Builder, "OnnxParser": OnnxParser, "Runtime": Runtime}
        if name in made:
            return lambda *args: made[name](self, *args)
        return {
            "ILogger": self._logger,
            "IProgressMonitor": self._monitor,
            "__version__": self._version,
        }[name]

    def _log(self, logger: Any, text: str, severity: str = "ERROR") -> None:
        logger.log(self._logger.Severity[severity], text)


class Builder(Offered):
    _class = "Builder"

    def __init__(self, trt: TensorRT, logger: Any) -> None:
        super().__init__(trt)
        self._logger = logger
        if fault := trt._faults.get("builder"):
            trt._log(logger, fault)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0):
        self._did("create_network", flags)
        return Network(self._trt)

    def create_builder_config(self):
        return Config(self._trt, self._logger)

    def create_optimization_profile(self):
        return Profile(self._trt)

    def build_serialized_network(self, network, config):
        self._did("build_serialized_network")
        trt, monitor = self._trt, config.progress_monitor
        trt._log(self._logger, "a warning", "WARNING")
        trt._log(self._logger, "tactics", "VERBOSE")
        try:
            monitor.phase_start("Building", None, 2)
            for step in range(2):
                if not monitor.step_complete("Building", step):
                    return None
            monitor.phase_finish("Building")
        except BaseException as error:
            raise AssertionError("raised through TensorRT's C++ frames") from error
        if fault := trt._faults.get("build"):
            trt._log(self._logger, fault)
            return None
        flags = [flag.name for flag in config._set]
        about = {"profile": config._profile, "host_code": "VERSION_COMPATIBLE" in flags}
        return memoryview(json.dumps(about).encode() + b"\0" + network._model)


class Config(Offered):
    _class = "IBuilderConfig"

    def __init__(self, trt: TensorRT, logger: Any) -> None:
        super().__init__(trt)
        self._logger = logger
        self._set: list = []
        self._profile: list = []

    def set_flag(self, flag):
        self._did("set_flag", flag.name)
        self._set.append(flag)

    def clear_flag(self, flag):
        self._did("clear_flag", flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self._did("set_memory_pool_limit", pool.name, pool_size)

    def add_optimization_profile(self, profile):
        self._profile = profile._shapes
        self._did("add_optimization_profile", *profile._shapes)
        return -1 if "profile" in self._trt._faults else 0

    def create_timing_cache(self, serialized_timing_cache):
        self._did("create_timing_cache", serialized_timing_cache)
        return Timings(self._trt, serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if cache._content not in {b"", b"timings of " + self._trt._version.encode()}:
            self._trt._log(self._logger, "the cache is of another version")
            return False
        self._timings = cache
        return True

    def get_timing_cache(self):
        return self._timings


class Timings(Offered):
    _class = "ITimingCache"

    def __init__(self, trt: TensorRT, content: bytes) -> None:
        super().__init__(trt)
        self._content = content

    def serialize(self):
        return memoryview(b"timings of " + self._trt._version.encode())


class Profile(Offered):
    _class = "IOptimizationProfile"

    def set_shape(self, input, min, opt, max):
        assert input in {"image", "labels"}
        if "set_shape" in self._trt._faults:
            raise ValueError(self._trt._faults["set_shape"])
        self._shapes = [list(min), list(opt), list(max)]


class Input(Offered):
    _class = "ITensor"

    def __init__(self, trt: TensorRT, name: str, shape: tuple) -> None:
        super().__init__(trt)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "shape", shape)


class Network(Offered):
    _class = "INetworkDefinition"

    def get_input(self, index):
        value = onnx.load_from_string(self._model).graph.input[index]
        axes = value.type.tensor_type.shape.dim
        return Input(self._trt, value.name, tuple(axis.dim_value or -1 for axis in axes))


class OnnxParser(Offered):
    _class = "OnnxParser"

    def __init__(self, trt: TensorRT, network, logger) -> None:
        super().__init__(trt)
        assert hasattr(logger, "errors")
        self._network, self._errors = network, []

    def parse(self, model, path=None):
        assert path is None
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
        self._did("parse", [value.name for value in graph.output])
        outputs = {value.name for value in graph.output}
        inner = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
        for node in graph.node:
            if node.op_type in self._trt._lacks:
                self._errors.append(Error(self._trt, node, "No importer\n registered for it"))
            if any(inner.get(n) == onnx.TensorProto.UINT8 for n in node.output if n not in outputs):
                self._errors.append(Error(self._trt, node, "UINT8 types for intermediate tensors"))
        self._network._model = bytes(model)
        return not self._errors and "parse" not in self._trt._faults

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class Error(Offered):
    _class = "ParserError"

    def __init__(self, trt: TensorRT, node, text: str) -> None:
        super().__init__(trt)
        self._node, self._text = node, text

    def node_operator(self):
        return self._node.op_type

    def node_name(self):
        return self._node.name

    def desc(self):
        return self._text


DOUBLES = (
    Builder,
    Config,
    Timings,
    Profile,
    Input,
    Network,
    OnnxParser,
    Error,
    Runtime,
    Engine,
    Context,
)
