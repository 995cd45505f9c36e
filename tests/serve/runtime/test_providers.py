"""What ONNX Runtime is asked for on a GPU, against a double that runs it on the CPU."""

import logging
import os

import numpy as np
import onnx
import onnxruntime
import pytest

from roadshift import Failure, UserError
from serve.cli.verify import verify
from serve.runtime.engine import Engine
from serve.runtime.providers import chain, engine_folder

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
FLOAT32 = {"use_tf32": "0"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The graphs and the providers of every session; the sessions run on the CPU."""
    asked = []
    real = onnxruntime.InferenceSession

    class Session(real):
        def __init__(self, graph, options, *, providers, enable_fallback):
            assert enable_fallback == 0
            assert options.intra_op_num_threads == 1
            assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
            asked.append((onnx.load_from_string(graph), providers))
            super().__init__(graph, options, providers=[CPU])
            self._full = providers[0][0]

        def get_providers(self):
            return [self._full, CPU]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("serve.runtime.sessions.Binding", lambda _, session: Plain(session))
    return asked


class Plain:
    """In place of the binding: there is no such device here."""

    def __init__(self, session):
        self._session = session

    def __call__(self, values, wanted):
        return self._session.run(list(wanted), {"image": values})


def shapes(model):
    values = [*model.graph.input, *model.graph.output]
    return {
        v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in values
    }


def test_any_size_has_no_cuda_graph(asked, tiny, kit):
    Engine(tiny, provider="cuda", threads=1).segment(kit.random_image(1)[None])
    ((model, providers),) = asked
    assert providers == [(CUDA, FLOAT32), (CPU, {})]
    assert shapes(model)["image"] == ["N", "H", "W", 3]


def test_a_fixed_size_has_one_and_batches_go_beside_it(asked, fixed, kit):
    engine = Engine(fixed, provider="cuda", threads=1)
    image = kit.random_image(1, 16, 24)
    for images in (image[None], np.stack([image, image]), image[None], np.stack([image] * 3)):
        assert (engine.segment(images).labels == kit.true_labels(images)).all()
    (single, first), (several, second) = asked
    assert first == [(CUDA, {**FLOAT32, "enable_cuda_graph": "1"}), (CPU, {})]
    assert shapes(single) == {"image": [1, 16, 24, 3], "labels": [1, 16, 24]}
    assert second == [(CUDA, FLOAT32), (CPU, {})]
    assert shapes(several)["labels"] == ["N", 16, 24]


def test_an_open_size_of_an_output_has_none_either(asked, fixed):
    """The toy's logits are of a size that its graph does not say."""
    Engine(fixed, provider="cuda", threads=1).run(np.zeros((1, 16, 24, 3), np.uint8), ["logits"])
    assert [providers[0] for _, providers in asked][1:] == [(CUDA, FLOAT32)]


def test_tensorrt_keeps_its_engines_and_takes_no_precision(asked, fixed, tmp_path):
    Engine(fixed, provider="tensorrt", threads=1)
    ((model, providers),) = asked
    assert [name for name, _ in providers] == [TENSORRT, CUDA, CPU]
    options = providers[0][1]
    folder = engine_folder(model.SerializeToString())
    assert options == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_cuda_graph_enable": "1",
    }
    assert providers[1:] == [(CUDA, FLOAT32), (CPU, {})]
    assert folder.is_relative_to(tmp_path)


def test_a_device_that_refuses_the_cuda_graph_runs_without(asked, fixed, monkeypatch, caplog):
    here = onnxruntime.InferenceSession

    def refuses(graph, options, *, providers, **kwargs):
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("nodes are not all on the device")
        return here(graph, options, providers=providers, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    with caplog.at_level(logging.WARNING):
        Engine(fixed, provider="cuda", threads=1)
    assert "without a CUDA graph" in caplog.text
    assert "nodes are not all on the device" in caplog.text
    assert asked[0][1][0] == (CUDA, FLOAT32)


def test_a_gpu_upsamples_by_itself(asked, exact):
    engine = Engine(exact, provider="cuda", threads=1)
    assert engine.route == "dense"
    assert Engine(exact, provider="cuda", threads=1, route="exact").route == "exact"


def test_int8_is_not_imitated(asked, int8):
    with pytest.raises(
        UserError, match=r"int8 on --provider cuda: .* use fp16 or fp32, or --provider te"
    ):
        Engine(int8, provider="cuda", precision="int8")
    assert not asked


def test_verify_leaves_out_what_the_provider_has_no_kernels_for(int8, monkeypatch, capsys):
    checked = []
    monkeypatch.setattr(
        "serve.device_check.verify.check_device",
        lambda _, precisions, **__: checked.extend(precisions) or Report(),
    )
    verify(int8.folder, provider="cuda")
    assert checked == ["fp32"]
    assert "note: int8 left out: cuda has no kernels for it" in capsys.readouterr().out
    checked.clear()
    verify(int8.folder, provider="tensorrt")
    assert checked == ["fp32", "int8"]


class Report:
    """In place of what a device came to."""

    def text(self):
        return "as promised"


def test_the_cpu_is_asked_for_nothing_special():
    assert chain("cpu", b"", capture=False) == [(CPU, {})]


def test_the_folder_is_the_users_own_and_the_graphs_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, other = engine_folder(b"one"), engine_folder(b"other")
    assert one != other
    assert one == engine_folder(b"one")
    for folder in (one, one.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    one.chmod(0o770)
    with pytest.raises(Failure, match=r"others may write there: .* make the folder yours alone"):
        engine_folder(b"one")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(Failure, match=r"tensorrt, and others may write there"):
        engine_folder(b"other")


def test_no_folder_for_the_engines(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Failure, match=r"could not make the folder .* name another place in XDG"):
        engine_folder(b"one")


def test_home_is_where_it_is_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_folder(b"").is_relative_to(tmp_path / ".cache" / "roadshift" / "tensorrt")


def test_on_a_gpu_int8_stays_in_tensorrts_form(asked, int8):
    Engine(int8, provider="tensorrt", threads=1, precision="int8")
    ((model, _),) = asked
    zeros = [t for t in model.graph.initializer if t.name.endswith("_zero")]
    assert [t.data_type for t in zeros] == [onnx.TensorProto.INT8] * 2
