"""A visitor's camera in process: label maps, bounds, turns."""

import threading
import time

import anyio
import anyio.to_thread
import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from demo.page import live
from demo.page.live import LiveView, live_pixels
from demo.page.visitors import LIVE, Queue
from roadshift import Failure
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.runtime.engine import Engine


@pytest.fixture
def engine(bundle) -> Engine:
    return Engine(bundle, threads=1)


def client_of(engine: Engine, queue: Queue | None = None, **limits) -> TestClient:
    view = LiveView(engine, queue or Queue(), Limits(**limits))
    return TestClient(Starlette(routes=[WebSocketRoute(LIVE, view.watch)]))


def closed(socket) -> tuple[int, str]:
    """The code and the reason with which the demo ends it."""
    with pytest.raises(WebSocketDisconnect) as caught:
        socket.receive_json()
    return caught.value.code, caught.value.reason


def test_each_picture_is_answered_with_its_labels(engine, street) -> None:
    with client_of(engine).websocket_connect(LIVE) as socket:
        for number in (1, 2):
            image = street(40, 60, number)
            socket.send_bytes(encode_png(image))
            head = socket.receive_json()
            assert head.pop("milliseconds") > 0
            assert head == {"frame": number, "dropped": 0, "height": 40, "width": 60}
            data = np.frombuffer(socket.receive_bytes(), np.uint8)
            labels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            assert np.array_equal(labels, image.argmax(2))


def test_garbage_is_explained_and_the_next_picture_answered(engine, street) -> None:
    with client_of(engine).websocket_connect(LIVE) as socket:
        for data, status in (
            (b"", 415),
            (b"no picture", 415),
            (encode_png(np.zeros((1024, 1024), np.uint8)), 413),  # few bytes, many pixels
            (encode_png(street(4, 60)), 400),
        ):
            socket.send_bytes(data)
            head = socket.receive_json()
            assert head["status"] == status
            assert str(engine.bundle.folder) not in head["error"]
        socket.send_bytes(encode_png(street(40, 60)))
        assert "error" not in socket.receive_json()


def test_text_is_no_picture(engine) -> None:
    with client_of(engine).websocket_connect(LIVE) as socket:
        socket.send_text("hello")
        assert closed(socket)[0] == 1003


def test_who_finds_all_places_taken_is_told_by_the_close(engine, street) -> None:
    client = client_of(engine, streams=1)
    with client.websocket_connect(LIVE):
        with client.websocket_connect(LIVE) as second:
            assert closed(second) == (live.TRY_AGAIN_LATER, live.FULL)
        assert len(live.FULL.encode()) <= 123  # a close frame holds no more
    with client.websocket_connect(LIVE) as third:  # the place is free again
        third.send_bytes(encode_png(street(8, 8)))
        assert "error" not in third.receive_json()


def test_who_watches_long_makes_room_for_the_next(engine, street, monkeypatch) -> None:
    client = client_of(engine, streams=1)
    with client.websocket_connect(LIVE) as first:
        first.send_bytes(encode_png(street(8, 8)))
        assert "error" not in first.receive_json()
        first.receive_bytes()
        with client.websocket_connect(LIVE) as second:  # it has just begun: nobody is sent away
            assert closed(second) == (live.TRY_AGAIN_LATER, live.FULL)
        monkeypatch.setattr(live, "PATIENCE", -1.0)
        with client.websocket_connect(LIVE) as third:
            assert closed(third) == (live.TRY_AGAIN_LATER, live.FULL)
        assert closed(first) == (live.TRY_AGAIN_LATER, live.LONG)
        assert len(live.LONG.encode()) <= 123
    with client.websocket_connect(LIVE) as again:
        again.send_bytes(encode_png(street(8, 8)))
        assert "error" not in again.receive_json()


def test_who_sends_nothing_is_sent_home(engine) -> None:
    with client_of(engine, stream_idle_seconds=0.1).websocket_connect(LIVE) as socket:
        assert closed(socket) == (1008, "no frame came in for 0.1 s")


def test_a_full_queue_costs_a_picture_and_not_the_camera(engine, street) -> None:
    queue = Queue(waiting=-1)
    with client_of(engine, queue).websocket_connect(LIVE) as socket:
        socket.send_bytes(encode_png(street(8, 8)))
        head = socket.receive_json()
        assert (head["status"], "try again in a few seconds" in head["error"]) == (503, True)
        queue._most = 1
        socket.send_bytes(encode_png(street(8, 8)))
        assert "error" not in socket.receive_json()


def test_the_engine_s_troubles_are_not_told_to_strangers(engine, street, monkeypatch) -> None:
    def fails(*_args, **_options):
        raise Failure("/secret/place is full")

    monkeypatch.setattr(engine, "segment", fails)
    with client_of(engine).websocket_connect(LIVE) as socket:
        socket.send_bytes(encode_png(street(8, 8)))
        head = socket.receive_json()
    assert head["status"] == 500
    assert "secret" not in head["error"]


def test_a_camera_that_never_pauses_lets_a_picture_in_between(engine, street, monkeypatch) -> None:
    """Of a visitor who sends and sends, one frame at most goes before what another visitor asks."""
    done: list[str] = []
    busy: list[int] = []
    inside, segment = threading.Event(), engine.segment

    def slow(image, **options):
        inside.set()
        busy.append(1)
        time.sleep(0.02)
        busy.pop()
        done.append("live")
        return segment(image, **options)

    monkeypatch.setattr(engine, "segment", slow)
    queue, data = Queue(), encode_png(street(8, 8))

    class Socket:
        """A client that always has another frame."""

        async def accept(self) -> None: ...
        async def send_text(self, text: str) -> None: ...
        async def send_bytes(self, content: bytes) -> None: ...
        async def close(self, code: int, reason: str) -> None: ...

        async def receive(self) -> dict:
            await anyio.sleep(0.001)
            if len(done) > 8:
                return {"type": "websocket.disconnect"}
            return {"type": "websocket.receive", "bytes": data}

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(LiveView(engine, queue).watch, Socket())
            await anyio.to_thread.run_sync(inside.wait)
            before = len(done)
            async with queue.place():
                await queue.run(lambda: done.append("both at once" if busy else "picture"))
            assert done.index("picture") <= before + 1

    anyio.run(both)
    assert done.count("live") > 3


def test_the_camera_s_pictures_are_as_large_as_those_learnt(bundle, fixed_bundle) -> None:
    assert live_pixels(bundle) == 128 * 256
    assert live_pixels(fixed_bundle) == 32 * 64
