"""Toytown's speed on one core, and how often its classes occur: `python -m bench.toytown_speed`."""

from __future__ import annotations

import time

import cv2
import numpy as np

from adapt.data.toytown import CITIES, CLASSES, draw

IMAGES = 400


def main() -> None:
    cv2.setNumThreads(1)
    shares: dict[str, np.ndarray] = {}
    for city in CITIES:
        draw(city, 0)  # builds the noise once
        counts = np.zeros(len(CLASSES), np.int64)
        start = time.process_time()
        for seed in range(IMAGES):
            counts += np.bincount(draw(city, seed)[1].ravel(), minlength=len(CLASSES))
        speed = IMAGES / (time.process_time() - start)
        shares[city] = 100 * counts / counts.sum()
        print(f"{city:8s} {speed:6.0f} images/s on one core")
    print(f"{'% of pixels':16s}" + "".join(f"{city:>8s}" for city in CITIES))
    for i, name in enumerate(CLASSES):
        print(f"{name:16s}" + "".join(f"{shares[city][i]:8.2f}" for city in CITIES))


if __name__ == "__main__":
    main()
