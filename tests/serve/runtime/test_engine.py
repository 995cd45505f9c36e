import sys
import threading
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from export.bundle import Golden
from roadshift import Failure, UserError
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny, threads=1)


def test_labels_and_confidence(engine, kit):
    images = np.stack([kit.random_image(1), kit.random_image(2)])
    answer = engine.segment(images, confidence=True)
    assert (answer.labels == kit.true_labels(images)).all()
    assert answer.labels.dtype == answer.confidence.dtype == np.uint8
    assert answer.confidence.shape == images.shape[:3]
    assert engine.segment(images).confidence is None


def test_only_the_path_to_the_wanted_outputs_runs(tmp_path, kit):
    """Labels come out although the path to the confidence fails on every run."""
    model = onnx.load_from_string(kit.graph(None))
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 7, 7]), "wrong"))
    broken = onnx.helper.make_node("Reshape", ["soft", "wrong"], ["folded"])
    softmax.input[0] = "folded"
    model.graph.node.insert(list(model.graph.node).index(softmax), broken)
    graph = model.SerializeToString()
    engine = Engine(kit.make_bundle(tmp_path / "b", graph=graph), threads=1)
    image = kit.random_image(1)[None]
    assert (engine.segment(image).labels == kit.true_labels(image)).all()
    with pytest.raises(Failure, match=r"the engine failed on images of shape \[1, 32, 48, 3\]"):
        engine.segment(image, confidence=True)


def test_threads_at_once_get_their_own_answers(engine, kit):
    wrong = []

    def work(seed):
        for k in range(20):
            image = kit.random_image(100 * seed + k, 16 + seed, 24)[None]
            if not (engine.segment(image).labels == kit.true_labels(image)).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 1), (0, 8, 8, 3), (1, 8, 0, 3)], ids=str)
def test_what_is_no_batch_of_images(engine, shape):
    with pytest.raises(UserError, match=r"wanted RGB images of shape \[n,h,w,3\], got"):
        engine.segment(np.zeros(shape, np.uint8))


def test_too_small(engine):
    with pytest.raises(UserError, match=r"images from 8x8 .* on, got 7x9: enlarge"):
        engine.segment(np.zeros((1, 7, 9, 3), np.uint8))


def test_a_fixed_size_refuses_others(fixed, kit):
    engine = Engine(fixed, threads=1)
    assert engine.check_golden() == 1
    assert engine.inputs[0].shape == (-1, 16, 24, 3)
    with pytest.raises(UserError, match=r"takes images of 16x24 .* only, got 32x48: resize"):
        engine.segment(kit.random_image(0)[None])


def test_a_fixed_batch_refuses_others(tmp_path, kit):
    model = onnx.load_from_string(kit.graph(None))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(UserError, match=r"takes 1 image\(s\) at a time, got 2"):
        Engine(bundle, threads=1).segment(np.zeros((2, 8, 8, 3), np.uint8))


def test_unknown_provider(tiny):
    with pytest.raises(UserError, match=r"unknown provider 'cud': did you mean 'cuda'"):
        Engine(tiny, provider="cud")


def test_negative_threads(tiny):
    with pytest.raises(UserError, match=r"threads is -1: wanted 0 .* or more"):
        Engine(tiny, threads=-1)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here"
)
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there(tiny, provider):
    with pytest.raises(Failure, match=rf"asked for .* {provider}, .* has cpu only.*\[gpu\]"):
        Engine(tiny, provider=provider)


def test_a_provider_that_does_not_start_is_not_replaced(tiny, monkeypatch):
    """ONNX Runtime itself goes on with the CPU, and says so on stderr at most."""
    everything = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    real = onnxruntime.InferenceSession

    def falls_back(path, options, providers, **kwargs):
        assert providers[0][0] == "CUDAExecutionProvider"
        return real(path, options, providers=["CPUExecutionProvider"], **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    with pytest.raises(Failure, match=r"cuda, and it did not start .* uses CPUExecutionProvider"):
        Engine(tiny, provider="cuda")


def test_no_onnxruntime(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Failure, match=r"not installed: pip install 'roadshift\[cpu\]'"):
        Engine(tiny)


def test_a_graph_that_does_not_load(tmp_path, kit):
    bundle = kit.make_bundle(tmp_path / "b", graph=b"no graph")
    with pytest.raises(Failure, match=r"could not load segmentor\.onnx of bundle .* on cpu: "):
        Engine(bundle)


def test_a_graph_of_something_else(tmp_path, kit):
    model = onnx.load_from_string(kit.graph(None))
    del model.graph.output[1]
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(
        Failure, match=r"makes labels UINT8, logits FP32 of image UINT8; wanted confidence"
    ):
        Engine(bundle)


def test_golden_frames(engine, tmp_path, kit):
    assert engine.check_golden() == 1
    image = kit.random_image(5)
    labels = kit.true_labels(image)
    labels[:4] = 3 - labels[:4]  # an eighth of the pixels
    good = Golden(image, kit.true_labels(image))
    bundle = kit.make_bundle(tmp_path / "b", golden=[good, Golden(image, labels)])
    with pytest.raises(Failure, match=r"tiny gives 87\.5000% .* wanted 99\.9000%"):
        Engine(bundle, threads=1).check_golden()
    lenient = replace(bundle, checks={"precisions": {"fp32": {"min_agreement": 0.875}}})
    assert Engine(lenient, threads=1).check_golden() == 0.875
