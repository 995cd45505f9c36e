"""Cameras: one on the network that sends real RTSP, and one in this machine, which a file plays."""

import os
import signal
import threading
import time

import cv2
import numpy as np
import pytest
from rtsp_camera import camera

from roadshift import UserError
from serve.media import frame_source
from serve.media.ahead import Taken, ahead, newest
from serve.media.frame_source import frames_from, in_time, is_live, name_of, shown
from serve.media.segment_files import segment
from serve.runtime.engine import Engine

FPS = 25.0
"""What FFmpeg takes a transport stream for that does not say."""


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """30 frames that say which they are: red up to a column."""
    path = tmp_path_factory.mktemp("camera") / "front.ts"
    kind = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, kind, FPS, (64, 48))
    for i in range(30):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:, : 2 * (i + 1), 2] = 220
        writer.write(frame)
    writer.release()
    return path


def frames_of(path):
    capture, found = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        found.append(read[1])
    capture.release()
    return found


def test_a_camera_on_the_network_becomes_a_video(tiny, stream, tmp_path):
    seen = []
    with camera(stream, seconds=1.5) as url:
        report = segment(
            Engine(tiny, threads=1), url, tmp_path, progress=lambda *done: seen.append(done)
        )
    assert report.written == [tmp_path / "front.overlay.mp4"]
    frames = frames_of(report.written[0])
    missed = len(frames) - len(seen)  # the others came while one was segmented
    assert len(seen) <= len(frames) <= 30
    assert [of for _, of in seen] == [0] * len(seen)
    remark = f"{missed} of {len(frames)} frames came faster than they were segmented"
    assert [remark in line for line in report.remarks] == [True] * bool(missed)


@pytest.mark.parametrize("password", ["hidden", "hid#den", "hid/den", "hid@den", "hid?den"])
def test_no_password_is_shown(password):
    assert shown(f"rtsp://driver:{password}@camera:554/street?x=1") == "rtsp://camera:554/street"


def test_a_camera_with_a_password(stream):
    with camera(stream, 0.5, password="hidden") as url, frames_from(url) as (taken, _, total):
        assert next(taken).frame.shape == (48, 64, 3)
        assert total == 0
    assert shown(url) == url.replace("driver:hidden@", "").replace("?token=secret", "")
    with camera(stream, 0.5, password="hidden") as url:
        without = url.replace("driver:hidden@", "")
        with pytest.raises(UserError, match="name and password") as error, frames_from(without):
            pass
    assert "secret" not in str(error.value)


def test_nobody_answers_there():
    with (
        pytest.raises(UserError, match=r"rtsp://127.0.0.1:9/a sends no video that can be read"),
        frames_from("rtsp://me:hidden@127.0.0.1:9/a"),
    ):
        pass


def test_which_sources_are_cameras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [is_live(s) for s in ("0", "rtsp://a/b", "rtsps://a", "a.mp4", "7a")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    (tmp_path / "0").mkdir()
    assert not is_live("0")
    sources = ("3", "rtsp://cam/live/front.sdp", "rtsp://cam", "drives/a.mp4")
    assert [name_of(s) for s in sources] == ["camera3", "front", "cam", "a"]


def test_a_camera_of_this_machine_ends_with_an_interrupt(tiny, stream, tmp_path, monkeypatch):
    def endless(number):
        assert number == 7
        return Endless(cv2.VideoCapture(str(stream), cv2.CAP_FFMPEG))

    monkeypatch.setattr(frame_source.cv2, "VideoCapture", for_cameras(endless))
    before = signal.getsignal(signal.SIGINT)

    def interrupt(done, _):
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    report = segment(Engine(tiny, threads=1), "7", tmp_path / "out.mp4", progress=interrupt)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is before
    assert len(frames_of(report.written[0])) >= 3


def test_no_such_camera(tiny, tmp_path):
    with pytest.raises(UserError, match="there is no camera 63"):
        segment(Engine(tiny, threads=1), "63", tmp_path)


def test_what_was_missed_is_filled_with_the_one_before():
    pictures = [np.full((1, 1, 3), i, np.uint8) for i in range(3)]
    taken = [Taken(pictures[0], 4), Taken(pictures[1], 2), Taken(pictures[2], 0)]
    assert [int(p[0, 0, 0]) for p in in_time(taken)] == [0, 0, 0, 1, 2]


def test_the_newest_is_taken_and_the_others_counted():
    gates = [threading.Event() for _ in range(6)]
    reached = [threading.Event() for _ in range(6)]

    def slow():
        for i, gate in enumerate(gates):
            reached[i].set()
            assert gate.wait(10)
            yield np.full((1, 1, 3), i, np.uint8)

    taken = newest(slow(), threading.Event())
    gates[0].set()
    assert next(taken).frame[0, 0, 0] == 0
    for gate in gates[1:5]:
        gate.set()
    assert reached[5].wait(10)  # 1 to 4 are read, and nobody took them
    frame, missed = next(taken)
    assert (int(frame[0, 0, 0]), missed) == (4, 3)
    gates[5].set()
    assert [(int(f[0, 0, 0]), m) for f, m in taken] == [(5, 0)]


def test_an_error_of_the_camera_arrives_behind_its_last_frame():
    def broken():
        yield np.zeros((1, 1, 3), np.uint8)
        raise MemoryError("no room for the next one")

    taken = newest(broken(), threading.Event())
    assert next(taken).missed == 0
    with pytest.raises(MemoryError, match="no room"):
        next(taken)


def test_the_next_one_is_made_while_one_is_at_work():
    making = [threading.Event() for _ in range(3)]

    def items():
        for i, event in enumerate(making):
            event.set()
            yield i

    got = []
    for item in ahead(items()):
        assert making[min(item + 1, 2)].wait(10)
        got.append(item)
    assert got == [0, 1, 2]


def test_an_error_while_the_next_one_is_made_arrives():
    def items():
        yield 1
        raise UserError("the second one is broken")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(UserError, match="the second one"):
        next(taken)


class Endless:
    """A capture whose frames come 25 a second, the same ones again and again."""

    def __init__(self, capture):
        self.capture = capture

    def read(self):
        time.sleep(1 / FPS)
        there, frame = self.capture.read()
        if not there:
            self.capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            there, frame = self.capture.read()
        return there, frame

    def __getattr__(self, name):
        return getattr(self.capture, name)


def for_cameras(make):
    """`make` for a camera's number, the real class for a file."""
    real = cv2.VideoCapture

    def capture(*arguments):
        return make(*arguments) if len(arguments) == 1 else real(*arguments)

    return capture
