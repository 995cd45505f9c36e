import os

import cv2
import numpy as np
import pytest

from roadshift import Failure, UserError
from serve.media import video
from serve.media.segment_files import segment
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny, threads=1)


def make_video(path, size=(48, 64), frames=5, fps=12.5):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, size[::-1]
    )
    for i in range(frames):
        frame = np.zeros((*size, 3), np.uint8)
        frame[:, : 8 * (i + 1), 2] = 220  # a red area that grows; OpenCV's order is BGR
        writer.write(frame)
    writer.release()
    return path


def read(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        there, frame = capture.read()
        if not there:
            capture.release()
            return fps, np.stack(frames)[..., ::-1]
        frames.append(frame)


def test_video(engine, tmp_path):
    seen = []
    source = make_video(tmp_path / "drive.mp4")
    report = segment(engine, source, tmp_path / "out", progress=lambda *done: seen.append(done))
    target = tmp_path / "out" / "drive.overlay.mp4"
    assert report == ([target], 0, [])
    assert list((tmp_path / "out").iterdir()) == [target]
    fps, frames = read(target)
    assert fps == 12.5
    assert frames.shape == (5, 48, 64, 3)
    assert seen == [(i, 5) for i in range(1, 6)]
    # Red became half red, half the class's red; black became the class "dark".
    assert np.abs(frames[4][24, 10].astype(int) - [235, 0, 0]).max() < 25
    assert np.abs(frames[0][24, 60].astype(int) - [5, 5, 5]).max() < 12


def test_a_file_may_be_named_and_is_kept_while_it_is_newer(engine, tmp_path):
    source, target = make_video(tmp_path / "drive.mp4", frames=1), tmp_path / "a" / "b.mp4"
    assert segment(engine, source, target).written == [target]
    assert segment(engine, source, target) == ([], 1, [])
    assert segment(engine, source, target, overwrite=True).written == [target]


def test_wrong_places(engine, tmp_path):
    source = make_video(tmp_path / "drive.mp4", frames=1)
    with pytest.raises(UserError, match=r"written as \.mp4 only"):
        segment(engine, source, tmp_path / "out.avi")
    with pytest.raises(UserError, match=r"is the input video"):
        segment(engine, source, source)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"wanted a folder, and .*file is a file"):
        segment(engine, source, tmp_path / "file")


def test_broken_videos(engine, tmp_path):
    source = make_video(tmp_path / "drive.mp4")
    for content in (b"", source.read_bytes()[:300]):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.mp4 could not be opened as a video"):
            segment(engine, broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_frame(engine, tmp_path, monkeypatch):
    source = make_video(tmp_path / "drive.mp4")
    monkeypatch.setattr(video, "next_frame", lambda _: None)
    with pytest.raises(UserError, match=r"holds no frame that can be read"):
        segment(engine, source, tmp_path / "out")


def test_frames_of_the_wrong_size(engine, tmp_path):
    source = make_video(tmp_path / "drive.mp4", size=(6, 16))
    with pytest.raises(UserError, match=r"images from 8x8"):
        segment(engine, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Around:
    """A stand-in round one of OpenCV's objects: a subclass of its classes corrupts memory."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_a_video_that_ends_early_and_one_without_a_rate(engine, tmp_path, monkeypatch):
    source = make_video(tmp_path / "drive.mp4")

    class Short(Around):
        def get(self, what):
            return {cv2.CAP_PROP_FPS: 0.0, cv2.CAP_PROP_FRAME_COUNT: 9.0}[what]

    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *rest: Short(capture(*rest)))
    remarks = segment(engine, source, tmp_path / "out").remarks
    assert remarks == [
        f"{source} does not say its frame rate: 25/s was written",
        f"{source} announces 9 frames, and 5 could be read",
    ]
    monkeypatch.undo()
    assert read(tmp_path / "out" / "drive.overlay.mp4")[0] == 25


def test_an_interrupted_video_leaves_the_last_one(engine, tmp_path):
    source, out = make_video(tmp_path / "drive.mp4"), tmp_path / "out"
    target = segment(engine, source, out).written[0]
    before = target.read_bytes()

    def interrupt(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(engine, source, out, overwrite=True, progress=interrupt)
    assert target.read_bytes() == before
    assert list(out.iterdir()) == [target]


def test_no_writer(engine, tmp_path, monkeypatch):
    source = make_video(tmp_path / "drive.mp4")
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *_: 0x7FFFFFFF)
    with pytest.raises(Failure, match=r"this OpenCV cannot write MP4 video of 48x64"):
        segment(engine, source, tmp_path / "out")


def test_a_full_disk(engine, tmp_path, monkeypatch):
    source = make_video(tmp_path / "drive.mp4")
    writer = cv2.VideoWriter

    class Full(Around):
        fourcc = writer.fourcc

        def __init__(self, path, *rest):
            super().__init__(writer(path, *rest))
            self.path = path

        def release(self):
            self.inner.release()
            os.truncate(self.path, 0)

    monkeypatch.setattr(cv2, "VideoWriter", Full)
    with pytest.raises(Failure, match=r"could not write .*overlay\.mp4 .no video came out"):
        segment(engine, source, tmp_path / "out")
