"""From low-resolution logits to labels of full size: every way of doing it, in turns in one run.

    python bench/tail.py [--threads 2] [--rounds 7]

The logits are made of real label maps in ../shared/data where it is there (of drawn streets
otherwise): one-hot, averaged to low resolution, blurred, with noise; and of noise alone. Prints the
median milliseconds of each way for a frame, and how many of its pixels differ from torch's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch.nn.functional import interpolate

from adapt.data import toytown
from serve.runtime.exact_labels.labels import labels_at

DATA = Path(__file__).parents[2] / "shared" / "data"
SIZE, CLASSES, STRIDES = (1024, 2048), 19, (16, 8)
Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Way = Callable[[Floats], NDArray[np.integer]]


def label_maps() -> dict[str, Labels]:
    """Class ids below 19 by the name of where they come from, at full size."""
    found: dict[str, Labels] = {}
    for name, pattern in (
        ("cityscapes", "cityscapes_sample/gtFine/val/*/*labelIds.png"),
        ("camvid", "camvid/valannot/*.png"),
    ):
        if files := sorted(DATA.glob(pattern)):
            found[name] = np.asarray(cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE), np.uint8)
    found = found or {"toytown": np.asarray(toytown.draw("camera", 7)[1], np.uint8)}
    size = SIZE[::-1]
    return {
        name: np.asarray(cv2.resize(ids % CLASSES, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        for name, ids in found.items()
    }


def as_logits(ids: Labels, stride: int, noise: float) -> Floats:
    """[1,19,h/stride,w/stride] as a network would give them, sure of regions, unsure at borders."""
    small = (SIZE[1] // stride, SIZE[0] // stride)
    planes = [
        cv2.blur(
            cv2.resize((ids == k).astype(np.float32), small, interpolation=cv2.INTER_AREA), (3, 3)
        )
        for k in range(CLASSES)
    ]
    clean = 8 * np.stack(planes)[None]
    return clean + noise * np.random.default_rng(0).standard_normal(clean.shape, np.float32)


def in_numpy(logits: Floats) -> NDArray[np.integer]:
    """OpenCV's bilinear resizing of every class, numpy's argmax."""
    size = SIZE[::-1]
    full = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in logits[0]]
    return np.stack(full).argmax(0)[None]


def in_torch(logits: Floats) -> NDArray[np.integer]:
    """The reference."""
    full = interpolate(torch.from_numpy(logits), size=SIZE, mode="bilinear", align_corners=False)
    return full.argmax(1).numpy()


def in_onnxruntime(stride: int, threads: int) -> Way:
    """Resize and ArgMax, as the portable graph has them."""
    shape = [1, CLASSES, SIZE[0] // stride, SIZE[1] // stride]
    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Resize", ["z", "", "", "size"], ["full"], mode="linear"),
            node("ArgMax", ["full"], ["best"], axis=1, keepdims=0),
            node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
        ],
        "tail",
        [value("z", TensorProto.FLOAT, shape)],
        [value("labels", TensorProto.UINT8, [1, *SIZE])],
        [helper.make_tensor("size", TensorProto.INT64, [4], [1, CLASSES, *SIZE])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return lambda logits: np.asarray(session.run(None, {"z": logits})[0])


def borders_at_once(stride: int) -> Way:
    """The shortcut as it was first written: all classes in every cell with a border."""

    def run(logits: Floats) -> NDArray[np.integer]:
        z = np.pad(logits[0], ((0, 0), (1, 1), (1, 1)), mode="edge")
        top = z.argmax(0).astype(np.uint8)
        corners = [top[:-1, :-1], top[:-1, 1:], top[1:, :-1], top[1:, 1:]]
        i, j = np.nonzero(np.any([corners[0] != corner for corner in corners[1:]], 0))
        labels = np.repeat(np.repeat(corners[0], stride, 0), stride, 1)
        cells = labels.reshape(top.shape[0] - 1, stride, top.shape[1] - 1, stride)
        z = np.ascontiguousarray(z.transpose(1, 2, 0))
        a, b, c, d = z[i, j], z[i, j + 1], z[i + 1, j], z[i + 1, j + 1]
        at = ((np.arange(stride) + 0.5) / stride).astype(np.float32)
        for u in range(stride):
            left, right = a + (c - a) * at[u], b + (d - b) * at[u]
            for v in range(stride):
                cells[i, u, j, v] = (left + (right - left) * at[v]).argmax(1)
        half = stride // 2
        return labels[None, half : half + SIZE[0], half : half + SIZE[1]]

    return run


def compare(logits: Floats, ways: dict[str, Way], rounds: int) -> list[tuple[str, float, int]]:
    """Name, median milliseconds and differing pixels of each way; the ways take turns."""
    true = in_torch(logits)
    differ = {name: int((way(logits) != true).sum()) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(logits)
            times[name].append(1000 * (time.perf_counter() - begun))
    return [(name, statistics.median(times[name]), differ[name]) for name in ways]


def main() -> None:
    """Print one table a kind of logits and stride."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    for stride in STRIDES:
        ways: dict[str, Way] = {
            "roadshift": lambda z: labels_at(z, SIZE, False, asked.threads),
            "roadshift, 1 thread": lambda z: labels_at(z, SIZE, False, 1),
            "first shortcut": borders_at_once(stride),
            "OpenCV + numpy": in_numpy,
            "torch": in_torch,
            "ONNX Runtime": in_onnxruntime(stride, asked.threads),
        }
        maps = label_maps()
        cases = {name: as_logits(ids, stride, 0.1) for name, ids in maps.items()}
        first = next(iter(maps))
        cases[f"{first}, unsure"] = as_logits(maps[first], stride, 1.5)
        cases["noise"] = np.random.default_rng(1).standard_normal(
            cases[first].shape, dtype=np.float32
        )
        for name, logits in cases.items():
            print(f"\n{name}, logits {list(logits.shape)} -> {SIZE[0]}x{SIZE[1]}")
            for way, ms, differ in compare(logits, ways, asked.rounds):
                print(f"  {way:20} {ms:8.1f} ms  {differ:6} pixels differ")


if __name__ == "__main__":
    main()
