"""A video through a real server's stream: every frame, in order; and what may be wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from rtsp_camera import camera

from roadshift import Failure, UserError
from serve.cli.device_options import DeviceOptions
from serve.cli.segment import segment
from serve.http.guard import Guard
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.models.api_keys import ApiKeys
from serve.remote import overlay_stream
from serve.remote.overlay_stream import RemoteServer
from serve.remote.segment_remotely import segment_remotely

KEY = "0123456789abcdef"


def marked(i, size=(48, 64)):
    """A frame that says which it is: red up to a column."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[:, : 2 * (i + 1), 0] = 220
    return frame


def folder_of(path, count=25):
    path.mkdir()
    for i in range(count):
        (path / f"{i:03}.png").write_bytes(encode_png(marked(i)))
    return path


def video_of(path, count=9, fps=12.5):
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, (64, 48)
    )
    for i in range(count):
        writer.write(marked(i)[..., ::-1])
    writer.release()
    return path


def red_columns(path):
    """Of each frame of a video, how many columns are red; and its frame rate."""
    capture, found = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    fps = capture.get(cv2.CAP_PROP_FPS)
    while True:
        there, frame = capture.read()
        if not there:
            capture.release()
            return found, fps
        found.append(int((frame[24, :, 2] > 120).sum()))


def test_every_frame_of_a_folder_comes_in_order(client, tmp_path):
    source, seen = folder_of(tmp_path / "in"), []
    server = RemoteServer(f"http://{client.address}")
    report = segment_remotely(
        server, source, tmp_path / "out", progress=lambda *done: seen.append(done)
    )
    target = tmp_path / "out" / "in.overlay.mp4"
    assert report.written == [target]
    assert report.remarks == [f"{source} does not say its frame rate: 25/s was written"]
    columns, fps = red_columns(target)
    assert fps == 25
    assert np.abs(np.array(columns) - 2 * np.arange(1, 26)).max() <= 1
    assert seen == [(i, 25) for i in range(1, 26)]


def test_a_video_by_the_command(client, tmp_path, capsys):
    source, out = video_of(tmp_path / "drive.mp4"), tmp_path / "out.mp4"
    segment(source, out=out, server=f"http://{client.address}/")
    assert "wrote 1 file(s)" in capsys.readouterr().out
    columns, fps = red_columns(out)
    assert fps == 12.5
    assert np.abs(np.array(columns) - 2 * np.arange(1, 10)).max() <= 1


def test_a_slow_server_drops_none(tiny, kit, tmp_path):
    """Where the newest frame wins, a client that sends ahead loses frames."""
    source = folder_of(tmp_path / "in", 6)
    with kit.running(tiny) as client:
        client.engine.gate.clear()
        opener = threading.Timer(0.3, client.engine.gate.set)
        opener.start()
        segment_remotely(RemoteServer(f"http://{client.address}"), source, tmp_path)
        opener.join()
        counted = client.get("/metrics").text
    assert 'roadshift_stream_frames_total{outcome="answered"} 6.0' in counted
    assert 'outcome="dropped"' not in counted
    assert len(red_columns(tmp_path / "in.overlay.mp4")[0]) == 6


def test_a_full_line_is_waited_for(tiny, kit, tmp_path, monkeypatch):
    source = folder_of(tmp_path / "in", 4)
    with kit.running(tiny, Limits(waiting=0)) as client:
        server = RemoteServer(f"http://{client.address}")
        client.engine.gate.clear()
        opener = threading.Timer(0.5, client.engine.gate.set)
        opener.start()
        segment_remotely(server, source, tmp_path)
        opener.join()
        assert 'outcome="refused"' in client.get("/metrics").text
        assert len(red_columns(tmp_path / "in.overlay.mp4")[0]) == 4
        client.engine.entered.clear()
        client.engine.gate.clear()
        with ThreadPoolExecutor(1) as other:
            image = (source / "000.png").read_bytes()
            held = other.submit(client.post, "/segment", content=image, headers=kit.PNG)
            assert client.engine.entered.wait(10)
            monkeypatch.setattr(overlay_stream, "_ANSWER_SECONDS", 0.5)
            with pytest.raises(Failure, match=r"refused frame 1: .*try again later"):
                segment_remotely(server, source, tmp_path / "other")
            client.engine.gate.set()
            assert held.result().status_code == 200
    assert not (tmp_path / "other").exists()


def test_keys(tiny, kit, tmp_path, monkeypatch):
    source, keys = folder_of(tmp_path / "in", 2), tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    with kit.running(tiny, ready=False, before=Guard(keys=ApiKeys([KEY])).before) as client:
        url = f"http://{client.address}"
        with pytest.raises(Failure, match="opens no stream: not ready"):
            segment_remotely(RemoteServer(url, KEY), source, tmp_path)
        client.engine.gate.set()
        kit.wait_until(lambda: client.get("/v2/health/ready").status_code == 200)
        with pytest.raises(UserError, match="and it wants a key: --api-key-file"):
            segment(source, out=tmp_path, server=url)
        with pytest.raises(UserError, match="the key is not one of its"):
            segment_remotely(RemoteServer(url, KEY[::-1]), source, tmp_path)
        segment(source, out=tmp_path / "a.mp4", server=url, api_key_file=keys)
        monkeypatch.setenv("ROADSHIFT_API_KEY", KEY)
        segment(source, out=tmp_path / "b.mp4", server=url)
    assert len(red_columns(tmp_path / "a.mp4")[0]) == len(red_columns(tmp_path / "b.mp4")[0]) == 2


def test_a_frame_that_is_refused_leaves_the_last_video(client, tmp_path):
    source, out = folder_of(tmp_path / "in", 5), tmp_path / "out.mp4"
    out.write_bytes(b"before")
    (source / "003.png").write_bytes(b"GIF89a")
    server = RemoteServer(f"http://{client.address}")
    with pytest.raises(UserError, match="refused frame 4: wanted a JPEG, PNG or WebP image"):
        segment_remotely(server, source, out)
    (source / "003.png").write_bytes(encode_png(marked(3, (32, 64))))
    with pytest.raises(UserError, match="frame 4 is 32x64 and the first 48x64"):
        segment_remotely(server, source, out)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.mp4"]


def test_no_server(tmp_path):
    source = folder_of(tmp_path / "in", 1)
    for url, said in (
        ("127.0.0.1:8000", "wanted http://HOST:PORT"),
        ("http://127.0.0.1:8000/v2", "wanted http://HOST:PORT"),
        ("ftp://somewhere", "wanted http://HOST:PORT"),
    ):
        with pytest.raises(UserError, match=said):
            segment_remotely(RemoteServer(url), source, tmp_path)
    with pytest.raises(Failure, match=r"no roadshift server answers at http://127\.0\.0\.1:1 "):
        segment_remotely(RemoteServer("http://127.0.0.1:1"), source, tmp_path)


def test_a_server_that_stops(tiny, kit, tmp_path):
    source = folder_of(tmp_path / "in", 40)
    with kit.running(tiny) as client:

        def stop(done, _):
            client.server.uvicorn.should_exit = True
            kit.wait_until(lambda: client.server.service.readiness.unready is not None)

        with pytest.raises(Failure, match=r"ended at frame \d+: .*the server stops"):
            segment_remotely(
                RemoteServer(f"http://{client.address}"), source, tmp_path / "out", progress=stop
            )


def test_sources(client, tmp_path):
    server = RemoteServer(f"http://{client.address}")
    for source, said in ((tmp_path / "none.mp4", "wanted a video"), (tmp_path, "holds no image")):
        with pytest.raises(UserError, match=said):
            segment_remotely(server, source, tmp_path / "out")
    with pytest.raises(UserError, match=r"written as \.mp4 only"):
        segment_remotely(server, tmp_path, tmp_path / "out.avi")
    drive = video_of(tmp_path / "drive.mp4")
    with pytest.raises(UserError, match="is the input video"):
        segment_remotely(server, drive, drive)
    with pytest.raises(UserError, match="no camera 63"):
        segment_remotely(server, "63", tmp_path / "out")


def test_a_camera_on_the_network(client, tmp_path):
    kind = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "a.ts"), cv2.CAP_FFMPEG, kind, 25, (64, 48))
    for i in range(30):
        writer.write(marked(i)[..., ::-1])
    writer.release()
    server = RemoteServer(f"http://{client.address}")
    with camera(tmp_path / "a.ts", seconds=1.5) as url:
        report = segment_remotely(server, url, tmp_path)
    columns, _ = red_columns(tmp_path / "front.overlay.mp4")
    assert report.written == [tmp_path / "front.overlay.mp4"]
    assert 2 <= len(columns) <= 30
    assert sorted(columns) == columns


def test_the_bundle_is_the_servers(tiny, tmp_path):
    with pytest.raises(UserError, match="with --server its own bundle is asked"):
        segment(tiny.folder, tmp_path, out=tmp_path, server="http://localhost:1")
    with pytest.raises(UserError, match="on its own device"):
        device = DeviceOptions(precision="int8")
        segment(tmp_path, out=tmp_path, server="http://localhost:1", device=device)
    with pytest.raises(UserError, match="wanted a bundle and what is to be segmented"):
        segment(tiny.folder, out=tmp_path)
