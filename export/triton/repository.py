"""A bundle as a model repository for Triton Inference Server, and for KServe around it.

    FOLDER/NAME/config.pbtxt       what Triton is told of the model
    FOLDER/NAME/labels.txt         the classes' names, a line each
    FOLDER/NAME/1/model.onnx       or model.plan, with model.plan.json that says what it is
    FOLDER/NAME/warmup/golden      a golden frame's raw bytes: ready means that it has run
    FOLDER/NAME-reconstructor/     likewise, and NAME-translator, where the bundle has them
    FOLDER/kserve.yaml             an InferenceService; written once, it is the user's from then on

Triton computes all outputs of a graph whatever a client asks for, so the segmentor is cut down to
its labels: the confidence would cost more than many a network.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from export.bundle import SEGMENTOR, Bundle, GraphSpec
from export.bundle.graphs import drawing_graphs
from export.bundle.plan_file import Sidecar, manifest_hash, page_of, read_plan
from export.bundle.replace_folder import replace_folder
from export.triton.config import LABELS, WARM_UP, TritonModel, TritonTensor, config, tensor
from roadshift import Failure, UserError, replacing
from serve.runtime.graph_content import checked
from serve.runtime.rewrites.prune import pruned

KSERVE = "kserve.yaml"
CONFIG, ONNX, PLAN = "config.pbtxt", "1/model.onnx", "1/model.plan"
OURS = frozenset({CONFIG, LABELS, ONNX, PLAN, f"{PLAN}.json", f"warmup/{WARM_UP}"})
Files = dict[str, bytes]


def write_repository(
    bundle: Bundle,
    folder: Path,
    *,
    precision: str = "fp32",
    max_batch: int = 8,
    plan: Path | None = None,
    storage: str = "s3://PUT-YOUR-BUCKET-HERE/models",
) -> list[str]:
    """Writes the bundle's models into the repository `folder`; the models' names.

    `plan` is one of `roadshift engine` with labels out, instead of the ONNX graph in `precision`.
    `max_batch` frames at most are computed at a time (1 or more), and `storage` is where KServe is
    to fetch the repository from. Each model's folder is replaced as a whole. Raises UserError: a
    precision or a plan that is not of this bundle, a folder with files that are not ours; Failure
    when the disk does not take it, the models written before are then whole.
    """
    if max_batch < 1:
        raise UserError(f"the largest batch is {max_batch}: wanted 1 frame or more")
    if folder.resolve().is_relative_to(bundle.folder.resolve()):
        raise UserError(f"{folder} lies in the bundle itself: name a folder outside of it")
    models = {bundle.name: _segmentor(bundle, precision, max_batch, plan)}
    for graph in drawing_graphs():
        if graph.file in bundle.files:
            models[graph.served_name(bundle.name)] = _drawing(bundle, graph, max_batch)
    gone = {graph.served_name(bundle.name) for graph in drawing_graphs()} - models.keys()
    for name in (*models, *gone):
        _check(folder / name)
    try:
        for name, contents in models.items():
            replace_folder(folder / name, contents)
        for name in gone:
            shutil.rmtree(folder / name, ignore_errors=True)
        if not (folder / KSERVE).exists():
            with replacing(folder / KSERVE) as file:
                file.write_text(kserve_manifest(bundle.name, storage))
    except OSError as error:
        raise Failure(
            f"could not write the Triton repository {folder}: {error.strerror or error}; no model "
            "there is half written: make room, or name another folder"
        ) from error
    return list(models)


def kserve_manifest(name: str, storage: str) -> str:
    """An InferenceService that runs Triton on the repository at `storage`, as YAML."""
    host = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "roadshift"
    return f"""\
# Copy the models' folders to the storageUri below, then: kubectl apply -f {KSERVE}
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {host if host[0].isalpha() else "m-" + host}
spec:
  predictor:
    minReplicas: 1
    triton:
      protocolVersion: v2
      storageUri: {'"' + storage.replace('"', "") + '"'}
      env:
        - name: NVIDIA_TF32_OVERRIDE  # float32 as the bundle means it, with its whole mantissa
          value: "0"
      resources:
        limits:
          nvidia.com/gpu: "1"
"""


def _segmentor(bundle: Bundle, precision: str, max_batch: int, plan: Path | None) -> Files:
    names = "".join(f"{name}\n" for name in bundle.classes).encode()
    image = bundle.golden()[0].image
    if plan is not None:
        return {LABELS: names, **_plan(bundle, plan, image)}
    whole = checked(bundle.path(bundle.segmentor(precision)))
    graph = pruned(whole, [SEGMENTOR.output])
    return {LABELS: names, **_onnx(bundle.name, graph, image, max_batch)}


def _drawing(bundle: Bundle, spec: GraphSpec, max_batch: int) -> Files:
    graph = checked(bundle.path(spec.file))
    given = bundle.golden_drawn(spec)[0].given
    return _onnx(spec.served_name(bundle.name), graph, given, max_batch)


def _onnx(name: str, graph: onnx.ModelProto, given: NDArray[np.uint8], max_batch: int) -> Files:
    inputs, answers = (tuple(map(tensor, v)) for v in (graph.graph.input, graph.graph.output))
    free = inputs[0].shape[0] == -1
    model = TritonModel(name, "onnxruntime_onnx", inputs[0], answers, max_batch if free else 0)
    return {ONNX: graph.SerializeToString(), **_told(model, given)}


def _plan(bundle: Bundle, path: Path, image: NDArray[np.uint8]) -> Files:
    content, page = read_plan(path)
    if page.manifest_sha256 != manifest_hash(bundle):
        raise UserError(
            f"{path} was built of another bundle ({page.bundle}) than {bundle.folder}: build it "
            f"with 'roadshift engine {bundle.folder}'"
        )
    if (page.graph, page.output) != (SEGMENTOR.kind, SEGMENTOR.output):
        raise UserError(f"{path} gives the {page.graph}'s {page.output}, wanted labels: build one")
    if image.shape[:2] != page.size:
        image = np.asarray(cv2.resize(image, page.size[::-1]), np.uint8)
    files = {PLAN: content, f"{PLAN}.json": page_of(path).read_bytes()}
    return {**files, **_told(_planned(bundle.name, page), image)}


def _planned(name: str, page: Sidecar) -> TritonModel:
    # A plan for one frame has an axis of length one, which Triton cannot form batches along.
    count, batch = (-1, page.batch) if page.batch > 1 else (1, 0)
    given = TritonTensor(SEGMENTOR.input, "TYPE_UINT8", (count, *page.size, *SEGMENTOR.channels))
    answer = TritonTensor(SEGMENTOR.output, "TYPE_UINT8", (count, *page.size))
    return TritonModel(name, "tensorrt_plan", given, (answer,), batch)


def _told(model: TritonModel, given: NDArray[np.uint8]) -> Files:
    return {
        CONFIG: config(model, given.shape).encode(),
        f"warmup/{WARM_UP}": np.ascontiguousarray(given).tobytes(),
    }


def _check(folder: Path) -> None:
    """Raises UserError unless the model's folder is new or holds nothing but our files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and a model is a folder: name another repository")
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if strange := sorted(found - OURS):
        raise UserError(
            f"{folder} holds files that 'roadshift' did not write, {strange[0]!r} for one, and "
            "would lose them: name another repository, or move them away"
        )
