"""Labels at 1024x2048 out of low-resolution logits: the exact shortcut against the dense route.

    python bench/full_size.py

The logits are those of drawn streets (one-hot labels of toytown, blurred), 19 channels. Prints the
median milliseconds of both, their ratio, and how many pixels differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import avg_pool2d, interpolate, one_hot

from adapt.data import toytown
from adapt.networks.upsampling import full_size, labels_at

SIZE = (1024, 2048)


def street_logits(stride: int) -> torch.Tensor:
    """[1,19,h/stride,w/stride] with the regions of a drawn street."""
    label = torch.from_numpy(toytown.draw("camera", 7)[1]).long()
    scores = 8 * one_hot(label, 19).permute(2, 0, 1)[None].float()
    small = (SIZE[0] // stride, SIZE[1] // stride)
    smooth = avg_pool2d(interpolate(scores, size=small, mode="bilinear"), 3, 1, 1)
    return smooth + 0.1 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))


def milliseconds(run: Callable[[], object]) -> float:
    """Median of seven runs after one that is not counted."""
    times: list[float] = []
    for _ in range(8):
        begun = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


def main() -> None:
    """Print one row a stride."""
    torch.set_num_threads(1)
    print("stride  dense ms  exact ms  ratio  differing pixels")
    for stride in (4, 8, 16):
        logits = street_logits(stride)
        dense = milliseconds(lambda z=logits: full_size(z, SIZE, False).argmax(1))
        exact = milliseconds(lambda z=logits: labels_at(z, SIZE, False))
        differ = int(
            (full_size(logits, SIZE, False).argmax(1) != labels_at(logits, SIZE, False)).sum()
        )
        print(f"{stride:6}  {dense:8.1f}  {exact:8.1f}  {dense / exact:5.1f}  {differ}")


if __name__ == "__main__":
    main()
