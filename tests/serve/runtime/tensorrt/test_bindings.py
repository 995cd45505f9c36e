import logging
import sys
from types import SimpleNamespace

import pytest
from cuda_double import recorded
from tiny_plan import machine

from export.bundle.plan_file import numbers
from roadshift import Failure
from serve.runtime.tensorrt.bindings import cudart, logger, reason, tensorrt
from serve.runtime.tensorrt.cuda import Cuda


def test_tensorrt_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(Failure, match=r"not installed.*pip install tensorrt.*system-site-packages"):
        tensorrt()


def test_tensorrt_lacks_its_libraries(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(Failure, match=r"does not load \(libnvinfer.so.10: cannot open\): pip inst"):
        tensorrt()


@pytest.mark.parametrize("version", recorded("tensorrt"))
def test_known_versions(version):
    with machine(version) as device:
        assert tensorrt() is device.trt


@pytest.mark.parametrize(
    ("version", "advice"),
    [("8.5.2.2", "newer one"), ("9.3.0", "newer"), ("10.2.0", "newer"), ("12.0.1", "those")],
)
def test_unknown_versions(monkeypatch, version, advice):
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    with pytest.raises(Failure, match=rf"this is TensorRT {version}, .* 10\.3 to 11: .*{advice}"):
        tensorrt()


def test_numbers():
    assert numbers("10.13.3.9") == (10, 13, 3, 9)


def test_cuda_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(Failure, match=r"not installed.*'cuda-bindings<13'.*'cuda-bindings>=13'"):
        cudart()


def test_the_device():
    with machine(compute=(12, 0)):
        device = Cuda().device()
    assert device == ("Drawn GPU", (12, 0), "12.8", "12.6")
    assert device.architecture == "sm120"


def test_no_gpu():
    with machine() as device:
        device.cuda._faults.add("cudaGetDevice")
        with pytest.raises(Failure, match="CUDA could not find a GPU: out of memory; check the dr"):
            Cuda().device()


def test_the_logger_keeps_errors_and_tells_warnings(caplog):
    with machine() as device:
        log, severity = logger(device.trt), device.trt.ILogger.Severity
        assert reason(log) == "it gave no reason"
        with caplog.at_level(logging.INFO):
            log.log(severity.INTERNAL_ERROR, "first \n")
            log.log(severity.ERROR, "second")
            log.log(severity.WARNING, "beware")
            log.log(severity.INFO, "chatter")
    assert reason(log) == "first; second"
    assert [record.getMessage() for record in caplog.records] == ["TensorRT: beware"]
