"""On what network and graph are compared: frames, in which sizes and batches, golden ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from export.bundle import Golden
from export.frames import Frame, Frames, Size
from export.graph.onnx_file import TRACED


@dataclass(frozen=True, kw_only=True)
class Trial:
    """On what is compared: frames, the sizes (height, width) they are given, golden frames."""

    frames: Frames
    sizes: tuple[Size, ...]
    golden: Sequence[Golden]


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


def batches(frames: Frames, size: Size) -> Iterator[list[Frame]]:
    """Two frames, one frame, two frames, and so on; one or two frames are seen repeatedly."""
    count, start, length = max(frames.count, 3), 0, 2
    while start < count:
        numbers = range(start, min(start + length, count))
        yield [frames.read(i % frames.count).resized(size) for i in numbers]
        start, length = start + length, 3 - length
