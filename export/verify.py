"""torch == graph, on real frames and several sizes, or no bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from adapt.networks.segmentor import Segmentor
from export.bundle import Golden
from export.compare import MIN_AGREEMENT, Comparison, SizeCheck, Wanted, answer_of
from export.frames import Frame, Frames, Pixels, Size
from export.graph import INPUT, OUTPUTS, Answer
from export.onnx_file import TRACED
from export.runtime import Session, first_line, times
from roadshift import Failure, UserError


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a graph is held against: a network, the size that it works at, its classes."""

    segmentor: Segmentor
    work_size: Size | None
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The checks of every size, and the golden frames that went through both sides."""

    spec: str
    labelled: bool
    runtime: str
    sizes: tuple[SizeCheck, ...]
    golden_agreement: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is refused; empty when it is not."""
        wrong = [reason for check in self.sizes for reason in check.reasons]
        if self.golden_agreement < MIN_AGREEMENT:
            wrong.append(f"{self.golden_agreement:.3%} of a golden frame's labels agree")
        return tuple(wrong)

    @property
    def passed(self) -> bool:
        """Whether the graph is the network."""
        return not self.reasons

    def values(self) -> dict[str, Any]:
        """For bundle.json."""
        return {
            "min_agreement": MIN_AGREEMENT,
            "passed": self.passed,
            "frames": self.spec,
            "labelled": self.labelled,
            "runtime": self.runtime,
            "golden_agreement": self.golden_agreement,
            "sizes": [asdict(check) for check in self.sizes],
        }


class Runner(Protocol):
    """Something that runs what was exported; `name` is for the report."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: Pixels) -> Answer: ...


class OnnxRuntime:
    """The graph under ONNX Runtime on the CPU."""

    name = Session.name

    def __init__(self, graph: bytes) -> None:
        """`graph` is the file's content."""
        self._session = Session(graph)

    def __call__(self, images: Pixels) -> Answer:
        """RGB [n,h,w,3] -> what the graph answers; Failure where it cannot."""
        return Answer(*self._session.run(INPUT, images, OUTPUTS))


def no_one(_: Pixels) -> None:
    """Nobody wants to see the labels."""


def verify(
    subject: Subject,
    runner: Runner,
    frames: Frames,
    sizes: tuple[Size, ...],
    golden: Sequence[Golden],
    seen: Callable[[Pixels], None] = no_one,
) -> Verification:
    """Runs network and graph on all `frames` at each of `sizes` (height, width), and on `golden`.

    Batches of one and of two frames; one batch is in memory at a time, and `seen` is told the
    network's labels for it, [n,h,w]. Raises Failure when network or graph cannot take a size,
    UserError when the labels are of none of the classes.
    """
    shares = [(runner(g.image[None]).labels[0].numpy() == g.labels).mean() for g in golden]
    return Verification(
        spec=frames.spec,
        labelled=frames.labelled,
        runtime=runner.name,
        sizes=tuple(_check(subject, runner, frames, size, seen) for size in sizes),
        golden_agreement=float(min(shares)),
    )


def golden_frames(subject: Subject, frames: Frames, size: Size | None) -> list[Golden]:
    """Three of the frames (of `size`, else of their own) with the network's labels for them."""
    chosen = frames.spread(3)
    found: list[Golden] = []
    for i in range(chosen.count):
        frame = chosen.read(i)
        image = frame.resized(size or frame.size).image
        labels = _network(subject, image[None]).labels[0].numpy()
        found.append(Golden(image, labels))
    return found


def sizes_to_check(native: Size, smallest: Size) -> tuple[Size, ...]:
    """The frames' own size and three more: odd, larger and of another shape, and the smallest.

    None of them was used to make the graph, and three are no multiples of 32.
    """
    height, width = native
    odd = (_other(height, smallest[0]), _other(width, smallest[1]))
    other = (height * 5 // 4 // 2 * 2 + 2, max(width * 2 // 3, smallest[1]) | 1)
    sizes = dict.fromkeys([native, odd, other, smallest])
    return tuple(size for size in sizes if size != TRACED)


def _other(length: int, smallest: int) -> int:
    """An odd length a quarter shorter, or longer where that would be too short."""
    shorter, longer = length * 3 // 4 | 1, length * 5 // 4 | 1
    return shorter if shorter >= smallest else longer


def _check(
    subject: Subject, runner: Runner, frames: Frames, size: Size, seen: Callable[[Pixels], None]
) -> SizeCheck:
    comparison = Comparison(size, subject.classes, frames.labelled)
    for batch in _batches(frames, size):
        images = np.stack([frame.image for frame in batch])
        labels = [frame.label for frame in batch if frame.label is not None]
        label = np.stack(labels) if labels else None
        wanted = _network(subject, images)
        comparison.add(wanted, runner(images), label)
        seen(wanted.labels.numpy())
    if frames.labelled and not comparison.torch.matrix.any():
        raise UserError(
            f"{frames.spec} has no labels of the classes {', '.join(subject.classes)}: give --data "
            "with labels of some of them, or leave it out"
        )
    return comparison.result()


def _batches(frames: Frames, size: Size) -> Iterator[list[Frame]]:
    """Two frames, one frame, two frames, and so on; one or two frames are seen repeatedly."""
    count, start, length = max(frames.count, 3), 0, 2
    while start < count:
        numbers = range(start, min(start + length, count))
        yield [frames.read(i % frames.count).resized(size) for i in numbers]
        start, length = start + length, 3 - length


def _network(subject: Subject, images: Pixels) -> Wanted:
    try:
        wanted = answer_of(subject.segmentor, images, subject.work_size)
    except (RuntimeError, ValueError) as error:
        raise Failure(
            f"the network cannot take {times(images)} frames: {first_line(error)}; give larger "
            "frames, or one size with --size HxW"
        ) from error
    if not wanted.logits.isfinite().all():
        raise Failure(
            f"the network answers a {times(images)} frame with NaN or infinite logits: its "
            "training has diverged; train it again with a smaller learning rate"
        )
    return wanted
