"""Four streets of the tiny city as a batch on the device, and the run that they belong to."""

from pathlib import Path

import torch
from tiny_city import draw_tiny
from torch import nn

from adapt.data.drawing.batches import Batch
from adapt.run import Run


def tiny_run() -> Run:
    return Run(source="", target="", out=Path(), weights="none", lr=2e-3, backbone_scale=1.0)


def tiny_batch() -> Batch:
    drawn = [draw_tiny(i, 1.0) for i in range(4)]
    x_s = torch.stack([torch.from_numpy(image) for image, _ in drawn]).permute(0, 3, 1, 2) / 255
    y_s = torch.stack([torch.from_numpy(label) for _, label in drawn])
    size = (64, 128)
    x_s = nn.functional.interpolate(x_s, size=size)
    y_s = nn.functional.interpolate(y_s[:, None], size=size)[:, 0]
    return Batch(x_s, y_s, 0.6 * x_s, torch.full_like(y_s, 255))
