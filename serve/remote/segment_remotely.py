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
from serve.media.files import video_out
from serve.media.segment_files import Progress, Report
from serve.media.video import video_remarks, write_video
from serve.remote.overlay_stream import RemoteServer, overlay_stream
from serve.remote.sources import source_of

STREAMS = 2
"""Each has one frame under way: while one's runs, the other's is sent, decoded and written."""
Overlay = NDArray[np.uint8]


def segment_remotely(
    server: RemoteServer,
    source: Path,
    out: Path,
    *,
    progress: Progress = lambda _done, _of: None,
) -> Report:
    """Writes OUT, or OUT/NAME.overlay.mp4 where OUT is not named .mp4: every frame, in order.

    Images are sent as they are, other frames as JPEG. Raises UserError for a source that cannot be
    read, a key or a frame that is refused; Failure for a server that does not answer, and what
    cannot be written. A file that was there is then as before.
    """
    target = video_out(out, source.stem)
    if target.resolve() == source.resolve():
        raise UserError(f"--out {out} is the input video: name another file")
    with source_of(source) as (frames, fps, total), _streams(server) as overlay:

        def shown() -> Iterator[Overlay]:
            for done, frame in enumerate(_in_order(frames, overlay), 1):
                yield frame
                progress(done, total)

        done = write_video(target, fps, shown())
    if not done:
        raise UserError(f"{source} holds no frame that can be read: convert it to MP4")
    return Report([target], 0, video_remarks(source, fps, total, done))


@contextmanager
def _streams(server: RemoteServer) -> Generator[Callable[[int, bytes], Future[Overlay]]]:
    """What begins to have a frame overlaid; frame k's stream is free once frame k - STREAMS is."""
    with ExitStack() as stack:
        # A thread of its own each: a stream's second frame waits there for the first one's answer.
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(STREAMS)]
        opened = [stack.enter_context(overlay_stream(server)) for _ in range(STREAMS)]
        yield lambda k, content: pools[k % STREAMS].submit(opened[k % STREAMS].overlay, k, content)


def _in_order(
    frames: Iterator[bytes], overlay: Callable[[int, bytes], Future[Overlay]]
) -> Iterator[Overlay]:
    waiting = deque[Future[Overlay]]()
    for number, content in enumerate(frames, 1):
        if len(waiting) == STREAMS:
            yield waiting.popleft().result()
        waiting.append(overlay(number, content))
    while waiting:
        yield waiting.popleft().result()
