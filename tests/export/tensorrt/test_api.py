"""Every name of TensorRT and CUDA that roadshift touches exists in every version, old and new."""

import ast
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorrt_double
from cuda_double import API, recorded

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("export/tensorrt", "serve/runtime/tensorrt")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))
ROOTS = {
    "trt": ("tensorrt", ""),
    "builder": ("tensorrt", "Builder"),
    "network": ("tensorrt", "INetworkDefinition"),
    "parser": ("tensorrt", "OnnxParser"),
    "config": ("tensorrt", "IBuilderConfig"),
    "profile": ("tensorrt", "IOptimizationProfile"),
    "timings": ("tensorrt", "ITimingCache"),
    "runtime": ("tensorrt", "Runtime"),
    "engine": ("tensorrt", "ICudaEngine"),
    "context": ("tensorrt", "IExecutionContext"),
    "rt": ("cuda", ""),
}
"""What a variable (or attribute, after underscores) of that name is in these files."""


def chain(node: ast.Attribute) -> list[str]:
    """`self._engine.name` -> ["engine", "name"]; empty for what does not begin with a name."""
    steps = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        steps.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        return []
    steps += [] if inner.id == "self" else [inner.id]
    return [steps[-1].lstrip("_"), *reversed(steps[:-1])]


def touched(source: str) -> set[tuple[str, str, str]]:
    """Package, class ("" for the module) and name of all that the code touches."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        steps = chain(node) if isinstance(node, ast.Attribute) else []
        if len(steps) > 1 and steps[0] in ROOTS:
            package, owner = ROOTS[steps[0]]
            for name in steps[1:]:
                found.add((package, owner, name))
                owner = f"{owner}.{name}" if owner else name
    return found


def lacking(source: str) -> list[str]:
    """What some version does not have."""
    return [
        f"{package} {version} has no {owner} {name}".replace("  ", " ")
        for package, owner, name in sorted(touched(source))
        for version, api in recorded(package).items()
        if owner in api and name not in api[owner]
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_name_is_in_every_version(file):
    assert lacking(file.read_text()) == []


def test_the_names_are_found():
    found = set().union(*(touched(file.read_text()) for file in FILES))
    assert {
        ("tensorrt", "NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("tensorrt", "ILogger.Severity", "ERROR"),
        ("tensorrt", "IBuilderConfig", "builder_optimization_level"),
        ("tensorrt", "IExecutionContext", "execute_async_v3"),
        ("tensorrt", "Runtime", "engine_host_code_allowed"),
        ("cuda", "", "cudaMemcpyAsync"),
        ("cuda", "cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal"),
    } <= found
    assert len(found) > 60


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "tensorrt 11.0.0.114 has no BuilderFlag FP16"),
        (
            "f = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
            "tensorrt 11.4.0.106 has no NetworkDefinitionCreationFlag EXPLICIT_BATCH",
        ),
        ("config.int8_calibrator = c", "tensorrt 11.0.0.114 has no IBuilderConfig int8_calibrator"),
        (
            "self._builder.build_engine_with_config(n, c)",
            "tensorrt 10.3.0 has no Builder build_engine_with_config",
        ),
        (
            "self._engine.device_memory_size",
            "tensorrt 11.0.0.114 has no ICudaEngine device_memory_size",
        ),
        (
            "trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
            "tensorrt 10.3.0 has no HardwareCompatibilityLevel SAME_COMPUTE_CAPABILITY",
        ),
        ("trt.IInt8Calibrator", "tensorrt 10.3.0 has no IInt8Calibrator"),
        ("self.rt.cudaNoSuchThing()", "cuda 12.9.0 has no cudaNoSuchThing"),
    ],
)
def test_what_a_version_lacks_is_noticed(line, wrong):
    assert wrong in lacking(line)


def test_a_record_of_all_versions():
    versions = [tuple(map(int, v.split("."))) for v in recorded("tensorrt")]
    assert {v[:2] for v in versions} >= {(10, 3), (10, 13), (10, 16), (11, 0), (11, 4)}
    assert {v.split(".")[0] for v in recorded("cuda")} == {"12", "13"}
    assert API.stat().st_size < 20_000


@pytest.mark.parametrize("version", recorded("tensorrt"))
def test_the_double_takes_what_the_real_functions_take(version):
    api = recorded("tensorrt")[version]
    compared = 0
    for double in tensorrt_double.DOUBLES:
        for name, member in vars(double).items():
            if name.startswith("_") or isinstance(member, (property, str)):
                continue
            ours = list(inspect.signature(member).parameters)[1:]
            real = api[double._class][name]
            if real is not None:
                alternatives = [
                    [p.rstrip("=") for p in signature.split(", ") if p]
                    for signature in real.split("|")
                ]
                assert ours in alternatives, f"{double._class}.{name}{ours}: real {alternatives}"
                compared += 1
    assert compared >= 30
    assert api["OnnxParser"]["__init__"] == "network, logger"
    assert api["Builder"]["__init__"] == api["Runtime"]["__init__"] == "logger"


def test_the_installed_cuda_bindings_have_every_name():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for package, owner, name in set().union(*(touched(file.read_text()) for file in FILES)):
        if package == "cuda":
            assert hasattr(getattr(runtime, owner) if owner else runtime, name), f"{owner}.{name}"


WITH_TENSORRT = """
import sys
import tensorrt_bindings as trt
sys.modules["tensorrt"] = trt
from serve.runtime.tensorrt.bindings import logger, started, tensorrt
from export.tensorrt.progress import monitor
from roadshift import Failure

assert tensorrt() is trt and trt.__version__ == sys.argv[1]
log = logger(trt)
log.log(trt.ILogger.Severity.ERROR, "first")
log.log(trt.ILogger.Severity.INFO, "chatter")
for kind in (trt.Builder, trt.Runtime):
    try:
        started(trt, kind, log)
    except Failure as error:
        assert ("first" in str(error)) == (kind is trt.Builder), error
    else:
        raise AssertionError("an empty library has started")
steps = []
watching = monitor(trt, lambda *step: steps.append(step))
watching.phase_start("p", None, 2)
assert watching.step_complete("p", 0)
watching.phase_finish("p")
assert steps == [("p", 0, 2), ("p", 1, 2), ("p", 2, 2)]
kinds = {trt.DataType.UINT8: 1, trt.DataType.FLOAT: 4}
assert kinds[trt.DataType(trt.DataType.FLOAT.value)] == 4
assert tuple(trt.Dims([1, 2, 3])) == (1, 2, 3)
assert 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == (
    2 if trt.__version__ < "11" else 1
)
print("all of it")
"""
"""What of our code runs on the real bindings although there is no library behind them."""

WITH_CUDA = """
import sys
import cuda.bindings
from serve.runtime.tensorrt.cuda import Cuda
from roadshift import Failure

assert cuda.bindings.__version__ == sys.argv[1]
try:
    assert Cuda().device().compute > (0, 0)
except Failure as error:
    assert "CUDA could not find a GPU: " in str(error), error
print("all of it")
"""


@pytest.fixture(scope="module")
def recorder():
    """record_api.py, where it can run."""
    place = Path(__file__).with_name("record_api.py")
    spec = importlib.util.spec_from_file_location("record_api", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to make the libraries that the bindings link to")
    if module.pip() is None:
        pytest.skip("needs pip, to download the bindings")
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "version"), [(p, v) for p in ("tensorrt", "cuda") for v in recorded(p)]
)
def test_the_record_is_what_the_real_bindings_have(recorder, package, version, tmp_path):
    try:
        bindings = recorder.environment(package, version, tmp_path)
    except subprocess.CalledProcessError as error:
        if "download" not in error.cmd:
            raise
        pytest.skip(f"pip cannot download the bindings of {package} {version}: {error.stderr}")
    names = recorder.names_of(package, bindings)
    assert {kind: sorted(found) for kind, found in names.items()} == recorder.recorded(package)[
        version
    ]
    bindings["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    code = {"tensorrt": WITH_TENSORRT, "cuda": WITH_CUDA}[package]
    command = [sys.executable, "-W", "error", "-c", code, version]
    done = subprocess.run(command, env=bindings, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "all of it\n")
