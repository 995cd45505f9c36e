import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.functional import interpolate

from serve.runtime.exact_labels import border_cells, dense_labels, labels
from serve.runtime.exact_labels.labels import labels_at

POWERS = [(32, 64), (16, 16), (8, 8), (64, 8)]  # of logits 8x16 and 16x16: exact fractions
SIZES = [*POWERS, (29, 75), (9, 17), (5, 7), (1, 1), (1, 40), (40, 1), (8, 200)]


def regions(seed, shape=(2, 7, 8, 16), noise=0.3):
    """Logits with regions of classes, as a network gives."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, c, max(h // 3, 1), max(w // 3, 1), generator=generator)
    smooth = interpolate(3 * coarse, size=(h, w), mode="bicubic")
    return (smooth + noise * torch.randn(shape, generator=generator)).numpy()


def integers(seed, shape=(2, 7, 8, 16), most=3):
    """Logits with many ties, in which interpolation at fractions of two is exact."""
    coarse = np.random.default_rng(seed).integers(-most, most, shape, endpoint=True)
    return coarse.astype(np.float32)


def dense(logits, size, align_corners):
    return interpolate(
        torch.from_numpy(logits), size=size, mode="bilinear", align_corners=align_corners
    )


def on_onnxruntime(logits, size):
    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Resize", ["z", "", "", "size"], ["full"], mode="linear"),
            node("ArgMax", ["full"], ["labels"], axis=1, keepdims=0),
        ],
        "dense",
        [value("z", TensorProto.FLOAT, logits.shape)],
        [value("labels", TensorProto.INT64, None)],
        [helper.make_tensor("size", TensorProto.INT64, [4], [*logits.shape[:2], *size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"z": logits})[0]


@pytest.fixture(params=["cells", "dense"], autouse=True)
def route(request, monkeypatch):
    """Every test on both routes: cells with borders only, and everything."""
    monkeypatch.setattr(labels, "MOST", 1.0 if request.param == "cells" else -1.0)


@pytest.mark.parametrize("size", POWERS)
@pytest.mark.parametrize("shape", [(2, 7, 8, 16), (1, 2, 16, 16), (1, 255, 4, 4), (3, 1, 8, 8)])
def test_where_arithmetic_is_exact_it_is_the_dense_route_with_its_ties(size, shape):
    for seed in range(3):
        for logits in (integers(seed, shape), integers(seed, shape, 1)):
            found = labels_at(logits, size, False)
            assert np.array_equal(found, dense(logits, size, False).argmax(1))
            assert np.array_equal(found, on_onnxruntime(logits, size))


def test_exact_with_aligned_corners_too():
    for seed in range(3):
        logits = integers(seed, (2, 7, 9, 17), 1)
        found = labels_at(logits, (33, 65), True)
        assert np.array_equal(found, dense(logits, (33, 65), True).argmax(1))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_of_any_numbers_only_those_equal_up_to_rounding_may_differ(size, align_corners):
    shapes = [(2, 7, 8, 16), (1, 19, 1, 16), (1, 3, 8, 1), (1, 4, 1, 1), (1, 5, 2, 2)]
    for shape in shapes:
        for noise in (0.0, 0.3, 5.0):
            logits = regions(1, shape, noise)
            found = labels_at(logits, size, align_corners)
            full = dense(logits, size, align_corners)
            assert found.shape == (shape[0], *size)
            assert found.dtype == np.uint8
            chosen = full.gather(1, torch.from_numpy(found).long()[:, None])[:, 0]
            assert (full.max(1).values - chosen).max() < 1e-5 * full.abs().max()
            assert np.mean(found != full.argmax(1).numpy()) <= 1e-3


@pytest.mark.parametrize("align_corners", [False, True])
def test_threads_and_chunks_change_nothing(align_corners, monkeypatch):
    logits = regions(2, (3, 7, 16, 16))
    monkeypatch.setattr(labels, "ALONE", 0)
    once = labels_at(logits, (61, 97), align_corners, 1)
    for threads in (0, 2, 5):
        assert np.array_equal(labels_at(logits, (61, 97), align_corners, threads), once)
    for module in (border_cells, dense_labels):
        monkeypatch.setattr(module, "CHUNK", 100)
    assert np.array_equal(labels_at(logits, (61, 97), align_corners, 2), once)
    assert np.array_equal(labels_at(logits[1:2], (61, 97), align_corners), once[1:2])


def test_logits_need_not_be_contiguous():
    logits = regions(3, (2, 16, 8, 7)).transpose(0, 3, 2, 1)[:, :, ::-1, ::2]
    copied = np.ascontiguousarray(logits)
    assert np.array_equal(labels_at(logits, (33, 40), False), labels_at(copied, (33, 40), False))


def test_a_class_that_is_the_largest_at_no_logit_is_found_between_them():
    logits = np.zeros((1, 3, 2, 2), np.float32)
    logits[0, 0, :, 0] = logits[0, 2, :, 1] = 4
    logits[0, 1] = 3
    found = labels_at(logits, (2, 32), False)[0, 0]
    assert list(np.unique(found)) == [0, 1, 2]
    assert np.array_equal(found, dense(logits, (2, 32), False).argmax(1)[0, 0])


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_spoils_its_neighbourhood_only(odd):
    logits = regions(4, (1, 7, 16, 16))
    spoilt = logits.copy()
    spoilt[0, 3, 8, 8] = odd
    whole, found = (labels_at(z, (64, 64), False) for z in (logits, spoilt))
    assert found.max() < 7
    far = np.ones((64, 64), bool)
    far[28:40, 28:40] = False
    assert np.array_equal(found[0, far], whole[0, far])
    assert labels_at(np.full_like(logits, odd), (64, 64), True).max() < 7


def test_numpy_is_left_as_it_was():
    before = np.getbufsize(), np.geterr()
    labels_at(regions(5), (32, 64), False, 1)
    assert (np.getbufsize(), np.geterr()) == before
