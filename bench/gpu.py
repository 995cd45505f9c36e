"""A CUDA device beside the CPU of its machine: training, and bundles.

    python bench/gpu.py training --data ../shared/data
    python bench/gpu.py bundles bundles/city bundles/fixed --image street.jpg

`training` runs every method's command for a few steps on both devices, in float32 throughout (no
TF32), and compares the losses of every stage's first step: those of the first stage come from equal
networks and batches, and differ by rounding and by what a device draws at random itself. `bundles`
runs `roadshift verify --provider cuda`, then compares labels and times frames through the library
on both providers. Each prints a table; what was seen is in bench/results/gpu.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

STAGES = "--width 8 --blocks 1 --translate-steps 2 --translate-crop 64x64"
METHODS = {
    "source_only": "",
    "output_adversary": "--width-d 16",
    "self_training": "--style statistics --warm-up 1 --w-mask 1",
    "ldr": f"{STAGES} --pretrain-steps 2 --perceptual none --history 0",
    "intra_domain": "--width-d 16 --halvings-d 3 --inter-steps 2",
    "symmetric": f"{STAGES} --width-d 16",
    "feature_to_image": "--width 8",
    "pivot": "--classifier-steps 20 --features-weights {weights}",
}


def main() -> None:
    """One part, and its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("training", "bundles"))
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--image", type=Path, help="a JPEG, for bundles")
    parser.add_argument("--jobs", type=int, default=8, help="commands at a time, of training")
    asked = parser.parse_args()
    if asked.part == "bundles":
        if not asked.image:
            parser.error("bundles wants --image, a JPEG")
        bundles(asked.bundles, asked.image)
    else:
        training(asked.data, asked.jobs)


def training(data: str, jobs: int) -> None:
    """Every method on both devices: the losses of each stage's first step."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        cells = [(m, device) for m in METHODS for device in ("cpu", "cuda")]
        with ThreadPoolExecutor(jobs) as at_once:
            done = list(at_once.map(lambda cell: trained(data, out, *cell), cells))
        said = dict(zip(cells, done, strict=True))
        print("| method | stage | losses on the CPU | largest difference on CUDA |")
        print("|---|---|---|---|")
        for method in METHODS:
            if failed := [said[method, d] for d in ("cpu", "cuda") if said[method, d]]:
                print(f"| {method} | failed | {failed[0]} | |", flush=True)
                continue
            for log in sorted((out / f"{method}-cpu").rglob("metrics.jsonl")):
                stage = log.parent.relative_to(out / f"{method}-cpu")
                other = out / f"{method}-cuda" / stage / log.name
                print(f"| {method} | {stage} | {compared(log, other)} |", flush=True)


def trained(data: str, out: Path, method: str, device: str) -> str:
    """Runs the command; what it said where it failed."""
    weights = f"{data}/weights/mobilenet_v2_imagenet.safetensors"
    camvid = f"camvid:{data}/camvid#train"
    command = [
        *("adapt", method, "--source", f"{camvid}/!0001TP*", "--target", f"{camvid}/0001TP*"),
        *("--weights", weights, "--source-size", "240x320", "--size", "240x320"),
        *("--crop", "144x192", "--batch", "4", "--steps", "2", "--log-every", "1"),
        *("--threads", "1", "--device", device, "--out", str(out / f"{method}-{device}")),
        *METHODS[method].format(weights=weights).split(),
    ]
    ran = roadshift(command, {"NVIDIA_TF32_OVERRIDE": "0", "OMP_NUM_THREADS": "1"})
    return "" if ran.returncode == 0 else " ".join(ran.stderr.split())[-300:]


def compared(log: Path, other: Path) -> str:
    """The first step's losses, and how far those of the other device are from them."""
    ours, theirs = (json.loads(path.read_text().splitlines()[0]) for path in (log, other))
    names = [name for name in ours if name.startswith("loss")]
    shown = ", ".join(f"{name.removeprefix('loss_')} {ours[name]:.4f}" for name in names)
    apart = {name: abs(theirs[name] - ours[name]) / max(abs(ours[name]), 1e-6) for name in names}
    worst = max(apart, key=lambda name: apart[name])
    return f"{shown} | {apart[worst]:.1e} ({worst.removeprefix('loss_')})"


def bundles(folders: list[Path], image: Path) -> None:
    """verify on CUDA, and frames through the library on both providers."""
    from serve.library import open_bundle  # noqa: PLC0415 - so that training needs no runtime

    jpeg = image.read_bytes()
    print("| bundle | precision | verify on CUDA | labels as the CPU's | CPU ms | CUDA ms |")
    print("|---|---|---|---|---|---|")
    for folder in folders:
        for precision in json.loads((folder / "bundle.json").read_text())["precisions"]:
            ran = roadshift(["verify", str(folder), "--provider", "cuda", "--precision", precision])
            verified = "passed" if ran.returncode == 0 else " ".join(ran.stderr.split())[-300:]
            answers: list[Any] = []
            times: list[str] = []
            try:
                for provider in ("cpu", "cuda"):
                    street = open_bundle(folder, provider=provider, precision=precision, threads=4)
                    answers.append(street.segment(jpeg).labels)
                    times.append(f"{median(lambda: street.segment(jpeg)):.1f}")  # noqa: B023 - called at once
                same = f"{100 * (answers[0] == answers[1]).mean():.3f} %"
            except Exception as error:
                same, times = " ".join(str(error).split())[-300:], [*times, "", ""][:2]
            row: list[str] = [folder.name, precision, verified, same, *times]
            print("| " + " | ".join(row) + " |", flush=True)
            print(ran.stdout, file=sys.stderr, flush=True)


def median(call: Any, runs: int = 30) -> float:
    """Milliseconds of a call, after three that do not count."""
    taken: list[float] = []
    for _ in range(runs + 3):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken[3:])


def roadshift(
    arguments: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command."""
    return subprocess.run(
        [sys.executable, "-m", "roadshift", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


if __name__ == "__main__":
    main()
