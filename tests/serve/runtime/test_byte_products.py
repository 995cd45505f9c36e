"""INT8 on x86 without VNNI: every session asks for the kernels that do not saturate."""

import onnxruntime
import pytest

from export.verification.cpu_session import CpuSession
from serve.runtime import byte_products
from serve.runtime.byte_products import OPTION, told
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


@pytest.mark.parametrize(("flags", "wanted"), [("avx2", "1"), ("avx_vnni", "")])
def test_every_session_asks_for_it(cpu, tiny, monkeypatch, flags, wanted) -> None:
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
    graph = tiny.path("segmentor.onnx").read_bytes()
    CpuSession(graph)
    Runtime("cpu", 1).session(graph, "a graph")
    assert asked == [wanted, wanted]
