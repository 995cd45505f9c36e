"""A video, a folder of images or a camera to a video of overlays, which a server makes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadshift import UserError
from serve.media.ahead import Taken
from serve.media.files import video_out
from serve.media.frame_source import in_time, missed_remark, name_of, shown
from serve.media.segment_files import Progress, Report
from serve.media.video import video_remarks, write_video
from serve.remote.overlay_stream import RemoteServer, overlay_stream
from serve.remote.sources import Sent, source_of

STREAMS = 2
"""Each has one frame under way: while one's runs, the other's is sent, decoded and written."""
Overlay = NDArray[np.uint8]


def segment_remotely(
    server: RemoteServer,
    source: str | Path,
    out: Path,
    *,
    progress: Progress = lambda _done, _of: None,
) -> Report:
    """Writes OUT, or OUT/NAME.overlay.mp4 where OUT is not named .mp4: every frame, in order.

    Images are sent as they are, other frames as JPEG; of a camera those that there is time for.
    Raises UserError for a source that cannot be read, a key or a frame that is refused; Failure for
    a server that does not answer, and what cannot be written. A file that was there is then as
    before.
    """
    source = str(source)
    target = video_out(out, name_of(source))
    if target.resolve() == Path(source).resolve():
        raise UserError(f"--out {out} is the input video: name another file")
    segmented = missed = 0
    with source_of(source) as (frames, fps, total), _streams(server) as overlay:

        def answered() -> Iterator[Taken]:
            nonlocal segmented, missed
            for taken in _in_order(frames, overlay):
                yield taken
                segmented, missed = segmented + 1, missed + taken.missed
                progress(segmented, total)

        written = write_video(target, fps, in_time(answered()))
    if not written:
        raise UserError(f"{shown(source)} holds no frame that can be read: convert it to MP4")
    remarks = video_remarks(shown(source), fps, total, segmented)
    return Report([target], 0, [*remarks, *missed_remark(missed, segmented)])


@contextmanager
def _streams(server: RemoteServer) -> Generator[Callable[[int, bytes], Future[Overlay]]]:
    """What begins to have a frame overlaid; frame k's stream is free once frame k - STREAMS is."""
    with ExitStack() as stack:
        # A thread of its own each: a stream's second frame waits there for the first one's answer.
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(STREAMS)]
        opened = [stack.enter_context(overlay_stream(server)) for _ in range(STREAMS)]
        yield lambda k, content: pools[k % STREAMS].submit(opened[k % STREAMS].overlay, k, content)


def _in_order(
    frames: Iterator[Sent], overlay: Callable[[int, bytes], Future[Overlay]]
) -> Iterator[Taken]:
    waiting = deque[tuple[Future[Overlay], int]]()

    def first() -> Taken:
        answer, missed = waiting.popleft()
        return Taken(answer.result(), missed)

    for number, (content, missed) in enumerate(frames, 1):
        if len(waiting) == STREAMS:
            yield first()
        waiting.append((overlay(number, content), missed))
    while waiting:
        yield first()
