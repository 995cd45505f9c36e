"""What torch answers: the reference that every graph is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.evaluation.evaluate import full_size, logits_of
from adapt.networks.segmentor import Segmentor
from export.bundle import Golden
from export.bundle.reproduction import EVIDENCE
from export.frames import Frames, Pixels, Size
from export.verification.cpu_session import first_line
from roadshift import Failure, UserError, hxw

BLANK = 2.0
"""In levels of 255: a frame whose values deviate by less shows nothing."""
LEAST_GOLDEN, MOST_GOLDEN = 3, 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a graph is held against: a network, the size that it works at, its classes."""

    segmentor: Segmentor
    work_size: Size | None
    classes: tuple[str, ...]


def golden_frames(
    subject: Subject, frames: Frames, size: Size | None, other: Size | None = None
) -> list[Golden]:
    """Some of the frames (of `size`, else of their own) with what the network made of them.

    At least three where there are as many that show something, and so many more that every class
    occurs in them that occurs in the frames at all; the first once more at the `other` size. Raises
    UserError where all frames show nothing.
    """
    counts = np.zeros((frames.count, len(subject.classes)), np.int64)
    blank = np.zeros(frames.count, bool)
    for i in range(frames.count):
        frame = frames.read(i)
        image = frame.resized(size or frame.size).image
        blank[i] = image.std() < BLANK
        labels = answer_of_network(subject, image[None]).labels[0]
        counts[i] = torch.bincount(labels.flatten().long(), minlength=counts.shape[1]).numpy()
    if blank.all():
        raise UserError(
            f"the frames of {frames.spec} show nothing (all of one colour): they are no evidence; "
            "give --frames or --data with real ones"
        )
    seen = np.flatnonzero(~blank)
    chosen = [frames.read(int(seen[i])) for i in covering(counts[seen])]
    wanted = [frame.resized(size or frame.size).image for frame in chosen]
    if other is not None:
        wanted.append(chosen[0].resized(other).image)
    return [_golden(subject, image) for image in wanted]


def covering(counts: NDArray[np.int64]) -> list[int]:
    """Rows [frames, classes] of pixels, few of them, in which each class has EVIDENCE that has it
    anywhere: always the one that adds most classes. Then evenly spread ones, up to LEAST_GOLDEN."""
    evident, chosen = counts >= EVIDENCE, list[int]()
    missing = evident.any(0)
    while missing.any() and len(chosen) < MOST_GOLDEN:
        added = (evident & missing).sum(1)
        chosen.append(int(added.argmax()))
        missing &= ~evident[chosen[-1]]
    spread = np.linspace(0, len(counts) - 1, min(LEAST_GOLDEN, len(counts))).round().astype(int)
    for i in spread.tolist():
        if len(chosen) < LEAST_GOLDEN and i not in chosen:
            chosen.append(i)
    return chosen


def _golden(subject: Subject, image: Pixels) -> Golden:
    answer = answer_of_network(subject, image[None])
    labels, confidence, logits = (
        x[0].numpy() for x in (answer.labels, answer.confidence, answer.logits)
    )
    return Golden(image, labels, confidence, logits)


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
