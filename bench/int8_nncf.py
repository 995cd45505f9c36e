"""Our INT8 graphs beside NNCF's, of the same float32 graphs, frames and budget.

    python bench/int8_nncf.py LR-ASPP=runs/lraspp PIDNet-S=runs/pidnet --nncf /tmp/nncf/bin/python

Each run is exported with INT8 held to the budget on labelled frames of --data; the float32 graph
of that bundle is given to `nncf.quantize_with_accuracy_control`, with the same calibration and
labelled frames, in an environment of its own, since NNCF wants an older NumPy than we do:

    python -m venv /tmp/nncf
    /tmp/nncf/bin/pip install nncf==3.4.0 onnx onnxruntime opencv-python-headless

Both are then scored and timed as a server runs them, at one thread, in turns. Writes
bench/results/int8_nncf.md; rows that an earlier call measured are kept in the JSON file beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from deploy_setup import cpu, say, version

from adapt.checkpoint import read
from export.bundle import Bundle, read_bundle
from export.frames import Frames, calibration_frames, frames_with_labels
from export.precision.accuracy import LabelJudge
from export.verification.cpu_session import CpuSession
from roadshift import UserError
from serve.device_check.arithmetic import PRODUCTS, lowered_share
from serve.runtime.byte_products import fits, saturates
from serve.runtime.rewrites.int8_on_cpu import for_cpu
from serve.runtime.rewrites.prune import prune, pruned

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "int8_nncf.md"
CALIBRATION = 32
DROP = 0.5
"""points of mIoU"""
HEAD = """# INT8 under a budget: ours beside NNCF's accuracy control

{cpu}, one thread; {versions}. Both were given the same float32 graph, 32 calibration frames and
labelled frames, and 0.5 points of mIoU to lose (ours also 2 of each class, which NNCF does not
know). Points are of IoU, lost against fp32 on those frames; ms are of the network alone, as a
server runs the graph on this CPU, in turns with fp32; MB of the file and, in brackets, with the
weights in bytes as a server keeps it. fast: no two weights can saturate, so the CPU's fast kernels
are exact. Minutes: of ours the whole export with its checks, of NNCF's the quantisation; beside
other work. Made by `python bench/int8_nncf.py`.

| network | frames | mIoU fp32 | fp32 ms | by | points lost | worst class | in fp32 | fast | MB \
| ms | of fp32's speed | minutes |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Make what is missing, measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="NAME=RUN; none: the table of what is measured")
    parser.add_argument("--data", default="../shared/data/cityscapes_small", help="#train, #val")
    parser.add_argument("--count", type=int, default=168, help="labelled frames")
    parser.add_argument("--out", type=Path, default=Path("runs/int8_nncf"))
    parser.add_argument("--nncf", type=Path, help="the Python of NNCF's environment")
    parser.add_argument("--turns", type=int, default=30, help="of the timing")
    asked = parser.parse_args()
    if asked.runs:
        check_nncf(asked.nncf)
    torch.set_num_threads(1)
    kept = RESULTS.with_suffix(".json")
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for one in asked.runs:
        name, _, run = one.partition("=")
        rows[name] = measured(Path(run), asked.out / name, asked)
        kept.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.write_text(table(rows))
    print(RESULTS.read_text())


def check_nncf(python: Path | None) -> None:
    """UserError, with what to do, where there is no environment with NNCF."""
    how = "make one as the top of bench/int8_nncf.py says and give --nncf ITS/bin/python"
    if python is None or not python.is_file():
        raise UserError(f"--nncf is {python}: {how}")
    code = "import cv2, nncf, onnx, onnxruntime"
    tried = subprocess.run(
        [python, "-c", code], check=False, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    if tried.returncode:
        raise UserError(f"{python} fails to `{code}`: {tried.stderr.decode()[-300:]}; {how}")


def measured(run: Path, out: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything about one network, for JSON."""
    out.mkdir(parents=True, exist_ok=True)
    saved = read(run, "last")
    spec = f"folder:{asked.data}"
    frames = frames_with_labels(f"{spec}#val", saved.info.classes).spread(asked.count)
    calibration = calibration_frames(f"{spec}#train", saved.info.classes).spread(CALIBRATION)
    bundle, ours = our_side(run, out / "bundle", spec, asked.count)
    theirs = nncf_side(bundle, frames, calibration, out, asked.nncf)
    fp32 = onnx.load(bundle.path("segmentor.onnx"))
    made = {"ours": onnx.load(bundle.path("segmentor.int8.onnx"))}
    if not theirs.get("error"):
        made["NNCF"] = onnx.load(out / "nncf.onnx")
    judge = LabelJudge(
        fp32, frames, calibration.spread(2), bundle.classes, saved.segmentor.align_corners is True
    )
    sides = {"ours": ours, "NNCF": theirs}
    for name, model in made.items():
        sides[name] |= judge(model)._asdict() | described(model, frames.read(0).size)
    times = in_turns({"fp32": fp32} | made, frames, asked.turns)
    scores = judge.before
    assert scores is not None
    return {
        "frames": frames.count,
        "miou": scores.miou,
        "fp32_ms": times["fp32"],
        "fp32_mb": bundle.path("segmentor.onnx").stat().st_size / 1e6,
        "cpu": f"{cpu()}, {'without' if saturates() else 'with'} VNNI or no x86",
        "versions": f"onnxruntime {version('onnxruntime')}, {theirs.get('version', 'NNCF')}",
        "sides": {name: side | {"ms": times.get(name)} for name, side in sides.items()},
    }


def our_side(run: Path, folder: Path, spec: str, count: int) -> tuple[Bundle, dict[str, Any]]:
    """The bundle in `folder`, made where there is none, and how long that took."""
    note = folder.with_suffix(".json")
    if not note.is_file():
        command = [sys.executable, "-m", "roadshift", "export", run, "--out", folder]
        command += ["--precision", "fp32,int8", "--data", f"{spec}#val", "--count", str(count)]
        command += ["--calibration", f"{spec}#train", "--calibration-count", str(CALIBRATION)]
        say(f"  {' '.join(map(str, command[1:]))}")
        began = time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        note.write_text(json.dumps({"minutes": (time.perf_counter() - began) / 60}))
    bundle = read_bundle(folder)
    kept = bundle.checks["precisions"]["int8"]["kept_in_fp32"]
    return bundle, json.loads(note.read_text()) | {"kept": len(kept)}


def nncf_side(
    bundle: Bundle, frames: Frames, calibration: Frames, out: Path, python: Path
) -> dict[str, Any]:
    """NNCF's graph in out/nncf.onnx, made where there is none; what it says of it."""
    note = out / "nncf.json"
    if not note.is_file():
        graph = pruned(onnx.load(bundle.path("segmentor.onnx")), ["logits"])
        onnx.save(graph, out / "fp32_logits.onnx")
        labelled = [frames.read(i) for i in range(frames.count)]
        np.savez(
            out / "frames.npz",
            calibration=np.stack([calibration.read(i).image for i in range(calibration.count)]),
            images=np.stack([frame.image for frame in labelled]),
            labels=np.stack([frame.label for frame in labelled if frame.label is not None]),
        )
        how = {"classes": len(bundle.classes), "align_corners": bundle.align_corners, "drop": DROP}
        (out / "nncf_input.json").write_text(json.dumps(how))
        say(f"  NNCF on {out}")
        done = subprocess.run(
            [python, HERE / "int8_nncf_side.py", out],
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"},
        )
        if done.returncode:
            return {"error": (done.stderr.decode().strip().splitlines() or ["failed"])[-1]}
    return json.loads(note.read_text())


def described(model: onnx.ModelProto, size: tuple[int, int]) -> dict[str, Any]:
    """How much of a graph is not INT8, and its size in MB as a file with int8 weights."""
    made = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in PRODUCTS]
    floats = [n for n in layers if not all(_dequantised(name, made) for name in n.input[:2])]
    return {
        "layers": len(layers),
        "floats": len(floats),
        "float_share": 1 - lowered_share(model, "int8", size),
        "mb": len(model.SerializeToString()) / 1e6,
        "served_mb": len(for_cpu(model).SerializeToString()) / 1e6,
        "fast": fits(for_cpu(model).SerializeToString()),
    }


def _dequantised(name: str, made: dict[str, onnx.NodeProto]) -> bool:
    return name in made and made[name].op_type == "DequantizeLinear"


def in_turns(models: dict[str, onnx.ModelProto], frames: Frames, turns: int) -> dict[str, float]:
    """Milliseconds of the network for one frame, the median over turns, one thread."""
    sessions = {
        name: CpuSession(prune(for_cpu(model).SerializeToString(), ["logits"]))
        for name, model in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(turns + 1):
        image = frames.read(turn % frames.count).image[None]
        for name, session in sessions.items():
            began = time.perf_counter()
            session.run("image", image, ["logits"])
            if turn:
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def table(rows: dict[str, Any]) -> str:
    """The page."""
    first = next(iter(rows.values()))
    lines = [HEAD.format(cpu=first["cpu"], versions=first["versions"])]
    for name, row in rows.items():
        for side, made in row["sides"].items():
            cells = [name, str(row["frames"]), f"{row['miou']:.1f}", f"{row['fp32_ms']:.1f}", side]
            if "error" in made:
                cells += [f"failed: {made['error']}", *[""] * 7]
            else:
                cells += [
                    f"{made['miou_drop']:.2f}",
                    f"{made['class_drop']:.2f}",
                    f"{made['floats']} of {made['layers']} layers, {made['float_share']:.1%}",
                    "yes" if made["fast"] else "no",
                    f"{made['mb']:.1f} ({made['served_mb']:.1f})",
                    f"{made['ms']:.1f}",
                    f"{row['fp32_ms'] / made['ms']:.2f} x",
                    f"{made['minutes']:.1f}",
                ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
