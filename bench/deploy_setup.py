"""What the deployed function is measured with: a run's bundle, a frame, and the machine's names."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2

from export.bundle import Bundle, read_bundle
from roadshift import Failure, UserError

FRAME = (1024, 2048)
"""(height, width) of what a camera gives."""
QUALITY = 95


class Shot(NamedTuple):
    """The frame that all are given: a JPEG file's content, and what it shows."""

    jpeg: bytes
    about: str


def bundle_of(run: Path, folder: Path, data: Path, missing: dict[str, str]) -> Bundle:
    """The run's bundle in `folder`, made where there is none or an older one than the run.

    `data` holds CamVid's frames. Where int8 cannot be made the reason goes into `missing`. Raises
    Failure when the run cannot be exported at all.
    """
    manifest = folder / "bundle.json"
    newest = (run / "last.safetensors").stat().st_mtime
    if not manifest.is_file() or manifest.stat().st_mtime < newest:
        error = exported(run, folder, data, "fp32,int8")
        if error is not None:
            missing["ours, int8"] = error
            error = exported(run, folder, data, "fp32")
        if error is not None:
            raise Failure(error)
    return read_bundle(folder)


def exported(run: Path, out: Path, data: Path, precisions: str) -> str | None:
    """Runs the command line; what it said last where it failed."""
    command = [sys.executable, "-m", "roadshift", "export", str(run), "--out", str(out)]
    command += ["--precision", precisions, "--data", f"camvid:{data}/camvid#val"]
    say(f"  {' '.join(command[1:])}")
    made = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    return None if made.returncode == 0 else (made.stderr.strip().splitlines() or ["failed"])[-1]


def frame_shot(data: Path) -> Shot:
    """A street of 1024x2048 from Cityscapes, or one of CamVid's enlarged to that."""
    places = ("cityscapes_sample/leftImg8bit/val/*/*.png", "camvid/val/*")
    path = next((path for place in places for path in sorted(data.glob(place))), None)
    if path is None:
        raise UserError(f"{data} has neither Cityscapes nor CamVid frames: give --data")
    image = cv2.imread(str(path))
    assert image is not None
    how = "" if image.shape[:2] == FRAME else f", enlarged from {image.shape[0]}x{image.shape[1]}"
    if how:
        image = cv2.resize(image, FRAME[::-1], interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    size = f"{FRAME[0]}x{FRAME[1]}, quality {QUALITY}, {len(jpeg) / 1e3:.0f} kB"
    return Shot(jpeg, f"`{path.relative_to(data)}`{how}, as a JPEG of {size}")


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def version(package: str) -> str:
    """What is installed of it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def say(line: str) -> None:
    """Progress, beside the page."""
    print(line, file=sys.stderr, flush=True)
