"""A bundle drawn without torch: the class of a pixel is its strongest colour."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.bundle import Bundle, Golden, write_bundle

CLASSES = ("building", "vegetation", "sky")
PALETTE = ((70, 70, 70), (107, 142, 35), (70, 130, 180))
DRAWN = ((180, 80, 80), (80, 180, 80), (80, 80, 180))


def street(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Red houses on the left, green trees on the right, a blue sky above: RGB [h, w, 3]."""
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3), np.uint8)
    image = noise + np.uint8(60)
    image[: height // 2, :, 2] += 120
    image[height // 2 :, : width // 4, 0] += 120
    image[height // 2 :, width // 4 :, 1] += 120
    return image


def strongest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image.argmax(axis=2).astype(np.uint8)


def graph(size: tuple[int, int] | None = None, channels: Sequence[int] = (0, 1, 2)) -> bytes:
    """The bundle's graph: uint8 [N,H,W,3] in; labels, confidence and logits out.

    `channels` says which colour stands for which class.
    """
    h, w = size or ("H", "W")
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["planes", "channels"], ["ordered"], axis=1),
        helper.make_node("Div", ["ordered", "heat"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("ReduceMax", ["p", "axis"], ["best"], keepdims=0),
        helper.make_node("Mul", ["best", "white"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["confidence"], to=TensorProto.UINT8),
    ]
    constants = [
        helper.make_tensor("channels", TensorProto.INT64, [3], list(channels)),
        helper.make_tensor("heat", TensorProto.FLOAT, [], [60.0]),
        helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", h, w, 3])]
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", h, w]),
        helper.make_tensor_value_info("confidence", TensorProto.UINT8, ["N", h, w]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3, h, w]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "strongest", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def drawing() -> bytes:
    """A reconstructor's graph: every class in its colour of DRAWN."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(DRAWN)] = DRAWN
    nodes = [
        helper.make_node("Cast", ["labels"], ["ids"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "ids"], ["image"]),
    ]
    inputs = [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "H", "W"])]
    outputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])]
    constants = [numpy_helper.from_array(table, "table")]
    model = helper.make_model(
        helper.make_graph(nodes, "drawing", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_bundle(folder: Path, size: tuple[int, int] | None = None) -> Bundle:
    """Writes a bundle of three classes with two golden frames.

    Where no size is given these are 128x256, and the bundle has a reconstructor.
    """
    images = [street(*(size or (128, 256)), seed) for seed in (1, 2)]
    contents = {"segmentor.onnx": graph(size)}
    checks: dict[str, object] = {
        "precisions": {
            "fp32": {
                "min_agreement": 0.999,
                "label_agreement": 1.0,
                "sizes": [{"size": [128, 256], "frames": 2, "agreement": 1.0}],
            }
        }
    }
    rebuilt = []
    if size is None:
        contents["reconstructor.onnx"] = drawing()
        checks["reconstructor"] = {"min_psnr": 40.0}
        rebuilt = [np.array(DRAWN, np.uint8)[strongest(image)] for image in images]
    return write_bundle(
        Bundle(
            folder=folder, name="tiny-city", classes=CLASSES, palette=PALETTE, size=size,
            min_size=(8, 8), precisions=("fp32",), align_corners=False,
            route="dense", opset=18,
            provenance={"method": "strongest_colour", "source": "drawn:<game>",
                        "target": "drawn:camera", "seed": 3,
                        "work_size": None},
            scores={"drawn:camera#val": {"miou": 61.25, "iou": {"sky": 93.5}}},
            checks=checks, files={},
        ),
        contents,
        [Golden(image, strongest(image)) for image in images],
        {"rebuilt": rebuilt} if rebuilt else None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def other_bundle(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that takes red for vegetation and green for buildings."""
    golden = [
        Golden(one.image, np.array([1, 0, 2], np.uint8)[one.labels]) for one in bundle.golden()
    ]
    return write_bundle(
        replace(
            bundle, folder=tmp_path_factory.mktemp("other") / "bundle", name="other-city",
            files={}, checks={"precisions": bundle.checks["precisions"]},
        ),
        {"segmentor.onnx": graph(channels=(1, 0, 2))},
        golden,
    )  # fmt: skip


@pytest.fixture(scope="session")
def fixed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fixed") / "bundle", (32, 64))


@pytest.fixture(name="street", scope="session")
def _street() -> Callable[..., NDArray[np.uint8]]:
    return street


@pytest.fixture(name="make_bundle", scope="session")
def _make_bundle() -> Callable[..., Bundle]:
    return make_bundle
