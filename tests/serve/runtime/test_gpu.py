"""On a machine with a GPU and onnxruntime-gpu: what elsewhere a double stands in for."""

import numpy as np
import onnxruntime
import pytest

from serve.device_check.verify import check_device
from serve.runtime.engine import Engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="needs onnxruntime-gpu",
    ),
]


def test_everything_that_verify_checks(exact):
    assert check_device(exact, provider="cuda", runs=2).precisions[0].routes_agree == 1


def test_a_cuda_graph_gives_every_frame_its_own_answer(fixed, kit, caplog):
    engine = Engine(fixed, provider="cuda")
    for seed in range(6):
        images = np.stack([kit.random_image(seed + k, 16, 24) for k in range(1 + seed % 3)])
        assert np.array_equal(engine.segment(images).labels, kit.true_labels(images))
    assert "without a CUDA graph" not in caplog.text


def test_shapes_come_and_go(tiny, kit):
    engine = Engine(tiny, provider="cuda")
    for seed in range(12):
        image = kit.random_image(seed, 16 + 4 * (seed % 6), 24)[None]
        answer = engine.segment(image, confidence=seed % 2 == 0)
        assert np.array_equal(answer.labels, kit.true_labels(image))
