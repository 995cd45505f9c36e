"""What label-driven reconstruction does with a frame: x_t | F(x_t) | G(F(x_t)) | M of that.

    python bench/ldr_picture.py RUN --data SPEC --out PICTURE.png [--rows 4]

RUN is a finished run of `roadshift adapt ldr`; of SPEC only the images are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from adapt import checkpoint
from adapt.data.datasets import unlabelled
from adapt.data.drawing.augment import resized_whole
from adapt.evaluation.evaluate import Views, predict
from adapt.methods.ldr.pictures import drawn
from adapt.networks.segmentors.translated import Translated
from adapt.pictures.overlay import Picture, overlay, write_png
from adapt.stages.progress_pictures import to_batch, to_image


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=4)
    asked = parser.parse_args()
    segmentor, info, M = checkpoint.read(asked.run)  # noqa: N806 - the paper's letter
    assert isinstance(segmentor, Translated)
    assert M is not None
    images = unlabelled(asked.data)
    rows: list[Picture] = []
    with torch.inference_mode():
        for i in np.linspace(0, len(images) - 1, asked.rows).astype(int):
            image = resized_whole(images.image(int(i)), info.work_size)
            translated = to_image(segmentor.translator(to_batch(image, M, None)))
            label = predict(segmentor, image, Views())
            panels = [image, translated, overlay(image, label, info.palette, 1.0), drawn(M, label)]
            rows.append(np.concatenate(panels, axis=1))
    write_png(asked.out, np.concatenate(rows))


if __name__ == "__main__":
    main()
