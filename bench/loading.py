"""Draws a second of one loader process: images decoded every time, kept in memory, kept in files.

    python bench/loading.py --data ../shared/data

CamVid's training frames with their labels, 256x512 crops of 256x512 to 384x768; and as a large
JPEG city the same frames enlarged to 1440x1920 at quality 90, seen at 360x480. The three ways take
turns; the first turn, in which caches fill, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import cv2
from deploy_setup import cpu

from adapt.data.datasets import LabelledImages, labelled
from adapt.data.drawing.draws import Draws, make_draws
from adapt.data.reading.decode import decode_image
from adapt.run import Run

RESULTS = Path(__file__).parent / "results" / "loading.md"
COUNT, TURNS = 60, 4


def draws(source: str, cache: str, size: str, crop: str) -> Draws:
    """Labelled draws alone, of the first frames: as source_only has them."""
    run = Run(
        source=source, target=source, out=Path(), cache=cache, source_size=size, size=size,
        crop=crop, scale=(1.0, 1.5),
    )  # fmt: skip
    return make_draws(run, labelled(source), None)


def enlarged(data: LabelledImages, folder: Path) -> str:
    """A folder of the first frames as large JPEGs, with labels of that size."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(COUNT):
        image = cv2.resize(data.image(i)[..., ::-1], (1920, 1440), interpolation=cv2.INTER_CUBIC)
        label = cv2.resize(data.label(i), (1920, 1440), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"images/{i:03}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        cv2.imwrite(str(folder / f"labels/{i:03}.png"), label)
    return f"folder:{folder}@camvid11"


def per_second(of: Draws) -> float:
    """Of one turn through as many draws as there are frames."""
    begun = time.perf_counter()
    for k in range(COUNT):
        _ = of[k]
    return COUNT / (time.perf_counter() - begun)


def row(name: str, source: str, size: str, crop: str) -> str:
    """Draws a second by way, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {way: draws(source, way, size, crop) for way in ("", "memory", folder)}
        turns = [[per_second(of) for of in ways.values()] for _ in range(TURNS)][1:]
    means = [statistics.fmean(turn) for turn in zip(*turns, strict=True)]
    return f"| {name} | " + " | ".join(f"{mean:.0f}" for mean in means) + " |"


def main() -> None:
    """Print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(Path(__file__).parents[2] / "shared" / "data"))
    camvid = f"camvid:{parser.parse_args().data}/camvid#train/0*"
    lines = [
        f"`python bench/loading.py`: {cpu()}, one process, draws of an image and its label a "
        f"second, {date.today().isoformat()}.",
        "",
        "| | decoded every time | --cache memory | --cache FOLDER |\n" + "|---" * 4 + "|",
        row("CamVid, PNG 360x480", camvid, "256x512", "256x512"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        large = enlarged(labelled(camvid), Path(folder) / "city")
        lines.append(row("the same as JPEG 1440x1920", large, "360x480", "256x256"))
        path, full = Path(folder) / "city/images/000.jpg", list[float]()
        for least in (None, (540, 720)):
            begun = time.perf_counter()
            for _ in range(20):
                decode_image(path, least)
            full.append((time.perf_counter() - begun) / 20 * 1000)
    lines += [
        "",
        f"Decoding that JPEG takes {full[0]:.1f} ms whole, {full[1]:.1f} ms at half scale.",
    ]
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
