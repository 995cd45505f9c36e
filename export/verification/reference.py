"""What torch answers: the reference that every graph is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapt.evaluation.evaluate import full_size, logits_of
from adapt.networks.segmentor import Segmentor
from export.bundle import Golden
from export.frames import Frames, Pixels, Size
from export.verification.cpu_session import first_line
from roadshift import Failure, hxw


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a graph is held against: a network, the size that it works at, its classes."""

    segmentor: Segmentor
    work_size: Size | None
    classes: tuple[str, ...]


def golden_frames(subject: Subject, frames: Frames, size: Size | None) -> list[Golden]:
    """Three of the frames (of `size`, else of their own) with the network's labels for them."""
    chosen = frames.spread(3)
    found: list[Golden] = []
    for i in range(chosen.count):
        frame = chosen.read(i)
        image = frame.resized(size or frame.size).image
        labels = answer_of_network(subject, image[None]).labels[0].numpy()
        found.append(Golden(image, labels))
    return found


def answer_of_network(subject: Subject, images: Pixels) -> Wanted:
    try:
        wanted = answer_of(subject.segmentor, images, subject.work_size)
    except (RuntimeError, ValueError) as error:
        raise Failure(
            f"the network cannot take {hxw(images.shape[1:3])} frames: {first_line(error)}; give "
            "larger frames, or one size with --size HxW"
        ) from error
    if not wanted.logits.isfinite().all():
        raise Failure(
            f"the network answers a {hxw(images.shape[1:3])} frame with NaN or infinite logits: "
            "its training has diverged; train it again with a smaller learning rate"
        )
    return wanted


@dataclass(frozen=True)
class Wanted:
    """The network's own answer; `margin` is the best logit less the second, at full size."""

    labels: Tensor
    confidence: Tensor
    logits: Tensor
    margin: Tensor


def answer_of(segmentor: Segmentor, images: Pixels, work_size: Size | None) -> Wanted:
    """What the network answers to RGB [n,h,w,3], without the module that was exported."""
    with torch.inference_mode():
        logits = logits_of(segmentor, torch.from_numpy(images), work_size)
        size = (images.shape[1], images.shape[2])
        full = full_size(logits, size, segmentor.align_corners is True)
        best, labels = full.max(1)
        probability = full.softmax(1).amax(1)
        second = full.scatter_(1, labels[:, None], -torch.inf).amax(1)
        confidence = (probability * 255).round().to(torch.uint8)
        return Wanted(labels.to(torch.uint8), confidence, logits, best - second)
