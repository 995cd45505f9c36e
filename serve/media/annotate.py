"""A video or a camera in, the same pictures under their class colours out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from roadshift import UserError
from serve.media.ahead import Taken, ahead
from serve.media.frame_source import frames_from, in_time, missed_remark, shown
from serve.media.paint import overlay
from serve.media.video import video_remarks, write_video
from serve.runtime.engine import Engine


def annotate(
    engine: Engine, source: str, out: Path, progress: Callable[[int, int], None]
) -> list[str]:
    """Writes `out` as `write_video` does, with the source's size and frame rate.

    Reading, segmenting and writing overlap, each in a thread. Returns remarks, one sentence each.
    Raises UserError for a source that cannot be opened or has no frame (see `frames_from`), Failure
    when the answer cannot be written.
    """
    segmented = missed = 0
    with ExitStack() as stack:
        frames, fps, total = stack.enter_context(frames_from(source))

        def painted() -> Iterator[Taken]:
            nonlocal segmented, missed
            for frame, before in frames:
                labels = engine.segment(frame[None]).labels[0]
                yield Taken(overlay(frame, labels, engine.bundle.palette), before)
                segmented, missed = segmented + 1, missed + before
                progress(segmented, total)

        pictures = stack.enter_context(closing(ahead(painted())))
        written = write_video(out, fps, in_time(pictures))
    if not written:
        raise UserError(f"{shown(source)} holds no frame that can be read: convert it to MP4")
    return [*video_remarks(shown(source), fps, total, segmented), *missed_remark(missed, segmented)]
