"""NNCF's part of bench/int8_nncf.py, run by the Python of NNCF's environment: FOLDER.

Reads fp32_logits.onnx, frames.npz and nncf_input.json there; writes nncf.onnx and nncf.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nncf  # pyright: ignore[reportMissingImports]
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from serve.runtime.exact_labels.labels import labels_at


def main() -> None:
    """Quantise under the budget."""
    folder = Path(sys.argv[1])
    how = json.loads((folder / "nncf_input.json").read_text())
    frames = np.load(folder / "frames.npz")
    images, labels = frames["images"], frames["labels"]
    model = onnx.load(folder / "fp32_logits.onnx")
    name = model.graph.input[0].name

    def given(image: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        return {name: image[None]}

    def score(candidate: Any, items: Iterable[Any]) -> float:
        return miou(candidate, items, name, how)

    def labelled(item: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> dict[str, Any]:
        return given(item[0])

    began = time.perf_counter()
    made = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(list(frames["calibration"]), given),
        nncf.Dataset(list(zip(images, labels, strict=True)), labelled),
        score,
        max_drop=how["drop"] / 100,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(frames["calibration"]),
    )
    minutes = (time.perf_counter() - began) / 60
    onnx.save(made, folder / "nncf.onnx")
    note = {"minutes": minutes, "version": f"NNCF {nncf.__version__}"}
    (folder / "nncf.json").write_text(json.dumps(note))


def miou(model: Any, items: Iterable[Any], name: str, how: dict[str, Any]) -> float:
    """0..1, over the classes in the labels; `model` is a graph, or NNCF's wrapper of a session."""
    if isinstance(model, onnx.ModelProto):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # As our own search judges: by kernels that do not saturate.
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    else:
        session = model
    n = how["classes"]
    counts = np.zeros((n, n), np.int64)
    for image, label in items:
        logits = np.asarray(session.run(["logits"], {name: image[None]})[0], np.float32)
        found = labels_at(logits, label.shape, how["align_corners"], 1)[0]
        known = label < n
        pairs = label[known].astype(np.int64) * n + found[known]
        counts += np.bincount(pairs, minlength=n * n).reshape(n, n)
    seen = counts.sum(1) > 0
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return float((counts.diagonal()[seen] / union[seen]).mean())


if __name__ == "__main__":
    main()
