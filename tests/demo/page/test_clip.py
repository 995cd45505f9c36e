"""A clip under its class colours: in process, and played by a real browser."""

import json

import anyio
import cv2
import numpy as np
import pytest

from demo.page import clip
from demo.page.segmentation import At
from demo.page.visitors import Queue
from serve.runtime.engine import Engine


def make_clip(path, street, frames: int = 5, size=(64, 96)) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size[::-1])
    for seed in range(frames):
        writer.write(street(*size, seed)[..., ::-1])
    writer.release()
    return path.read_bytes()


def streamed(
    engine, content: bytes, clips: Queue | None = None, at: At = "own"
) -> tuple[list[dict], bytes]:
    """The lines of the answer, and the bytes after them."""

    async def all_of_it() -> bytes:
        parts = clip.clip_stream(engine, content, at, clips or Queue(0), Queue())
        return b"".join([part async for part in parts])

    lines, rest = [], anyio.run(all_of_it)
    while not lines or not {"bytes", "error"} & lines[-1].keys():
        line, _, rest = rest.partition(b"\n")
        lines.append(json.loads(line))
    return lines, rest


def test_progress_comes_first_and_then_a_webm_of_as_many_frames(bundle, street, tmp_path) -> None:
    content = make_clip(tmp_path / "a.mp4", street)
    lines, webm = streamed(Engine(bundle, threads=1), content)
    assert lines[:-1] == [{"done": i, "of": 5} for i in range(1, 6)]
    assert lines[-1] == {"bytes": len(webm)}
    assert webm[:4] == b"\x1a\x45\xdf\xa3"
    (tmp_path / "out.webm").write_bytes(webm)
    capture = cv2.VideoCapture(str(tmp_path / "out.webm"))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1][..., ::-1].astype(int))
    assert len(frames) == 5
    assert frames[0].shape == (64, 96, 3)
    wanted = (np.array(bundle.palette[2]) + street(64, 96)[10, 48]) / 2
    assert np.abs(frames[0][5:25].mean((0, 1)) - wanted).max() < 25


def test_long_and_large_clips_are_cut_and_scaled(bundle, street, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(clip, "MOST_FRAMES", 3)
    monkeypatch.setattr(clip, "MOST_PIXELS", 32 * 48)
    content = make_clip(tmp_path / "a.mp4", street)
    lines, webm = streamed(Engine(bundle, threads=1), content)
    assert lines[-2] == {"done": 3, "of": 3}
    (tmp_path / "out.webm").write_bytes(webm)
    capture = cv2.VideoCapture(str(tmp_path / "out.webm"))
    assert capture.read()[1].shape == (32, 48, 3)


def test_frames_can_be_seen_at_the_size_learnt(bundle, street, tmp_path, monkeypatch) -> None:
    engine, seen = Engine(bundle, threads=1), []
    segment = engine.segment
    monkeypatch.setattr(engine, "segment", lambda one: seen.append(one.shape) or segment(one))
    content = make_clip(tmp_path / "a.mp4", street, frames=1)
    streamed(engine, content, at="learnt")
    assert seen == [(1, 148, 222, 3)]  # as many pixels as 128x256, in the clip's shape


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_what_is_no_video_is_told_without_a_path(bundle, content) -> None:
    lines, _ = streamed(Engine(bundle, threads=1), content)
    assert lines == [{"error": clip.UNREADABLE}]


def test_a_second_clip_is_told_to_wait(bundle, street, tmp_path) -> None:
    lines, _ = streamed(Engine(bundle, threads=1), b"", Queue(-1, "Another clip"))
    assert lines == [{"error": "Another clip"}]


def test_who_leaves_leaves_nothing_behind(bundle, street, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(clip.tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    content = make_clip(tmp_path / "a.mp4", street)

    async def leave() -> None:
        queue = Queue(0)
        parts = clip.clip_stream(Engine(bundle, threads=1), content, "own", queue, Queue())
        await anext(parts)
        assert list((tmp_path / "scratch").iterdir())
        await parts.aclose()
        async with queue.place():
            pass

    anyio.run(leave)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_clip_is_played_in_the_browser(page, street, tmp_path) -> None:
    page.get_by_role("tab", name="Video").click()
    make_clip(tmp_path / "drive.mp4", street)
    page.set_input_files("#clip", tmp_path / "drive.mp4")
    page.wait_for_function(
        "() => document.querySelector('#clip-status').textContent === 'drive.mp4 is done.'"
    )
    page.wait_for_function("() => document.querySelector('.rs-player').videoWidth === 96")
    assert page.get_by_text("Download the clip").get_attribute("download") == "drive.overlay.webm"


def test_a_broken_clip_is_explained_in_the_browser(page, tmp_path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    page.set_input_files("#clip", tmp_path / "broken.mp4")
    page.wait_for_selector("#clip-status.rs-error")
    assert "no video that can be read" in page.locator("#clip-status").inner_text()
    assert page.locator(".rs-player").is_hidden()
