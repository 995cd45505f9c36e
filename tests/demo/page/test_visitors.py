"""The bounds and doors of a page that strangers may reach."""

import anyio
import pytest
from starlette.requests import Request

from demo.page.visitors import LIVE, Doors, Queue, received
from serve.http import body
from serve.limits import Refusal
from serve.models.byte_budget import ByteBudget


def request(*chunks: bytes, slow: float = 0.0) -> Request:
    parts = list(chunks)

    async def receive() -> dict:
        await anyio.sleep(slow)
        body = parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(parts)}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def test_who_finds_the_queue_full_is_told_at_once_and_the_next_one_is_served() -> None:
    async def visit() -> None:
        queue = Queue(waiting=1)
        async with queue.place():
            async with queue.place():
                with pytest.raises(Refusal, match="Many people use this demo") as full:
                    async with queue.place():
                        pass
                assert full.value.status == 503
            async with queue.place():
                assert await queue.run(int, "7") == 7

    anyio.run(visit)


def test_who_is_patient_gets_the_place_that_becomes_free() -> None:
    async def visit() -> None:
        queue, freed = Queue(0, patience=60), anyio.Event()

        async def first() -> None:
            async with queue.place():
                await freed.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.wait_all_tasks_blocked()
            freed.set()
            async with queue.place():
                pass
        impatient = Queue(0, "taken", patience=0.01)
        async with impatient.place():
            with pytest.raises(Refusal, match="taken"):
                async with impatient.place():
                    pass

    anyio.run(visit)


def test_nothing_is_done_for_who_has_left_before_his_turn() -> None:
    async def visit() -> None:
        queue, done = Queue(), []

        async def gone() -> bool:
            return True

        with pytest.raises(Refusal, match="left"):
            await queue.run(done.append, 1, gone=gone)
        assert done == []
        assert await queue.run(int, "7") == 7

    anyio.run(visit)


def test_one_picture_at_a_time_is_worked_on() -> None:
    async def visit() -> None:
        queue, inside, most = Queue(), [], []

        def work() -> None:
            inside.append(1)
            most.append(len(inside))
            anyio.from_thread.run(anyio.sleep, 0.01)
            inside.pop()

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(queue.run, work)
        assert most == [1, 1, 1]

    anyio.run(visit)


async def read(request: Request, most: int, bodies: ByteBudget) -> bytes:
    async with received(request, most, bodies) as found:
        assert bodies.used == len(found)
        return found


def test_a_body_is_read_to_its_limit_and_its_bytes_come_back() -> None:
    bodies = ByteBudget(4 << 20)
    assert anyio.run(read, request(b"ab", b"cd"), 4, bodies) == b"abcd"
    with pytest.raises(Refusal, match="too large: at most 1 MB") as refusal:
        anyio.run(read, request(bytes(1 << 20), b"x"), 1 << 20, bodies)
    assert refusal.value.status == 413
    with pytest.raises(Refusal, match="Many people use this demo") as refusal:
        anyio.run(read, request(b"abcde"), 1 << 20, ByteBudget(4))
    assert refusal.value.status == 429
    assert bodies.used == 0


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(body, "_START_SECONDS", 0.01)
    with pytest.raises(Refusal, match="did not arrive in time") as refusal:
        anyio.run(read, request(b"x", slow=5.0), 4, ByteBudget(9))
    assert refusal.value.status == 408


@pytest.mark.parametrize(
    ("path", "method", "site", "open_"),
    [
        ("/", "GET", "", True),
        ("/assets/x.js", "GET", "same-origin", True),
        ("/gradio_api/heartbeat/x", "GET", "same-origin", True),
        ("/gradio_api/upload", "POST", "same-origin", False),
        ("/gradio_api/queue/join", "POST", "same-origin", False),
        ("/gradio_api/run/predict", "POST", "same-origin", False),
        ("/gradio_api/file=/etc/hostname", "GET", "same-origin", False),
        ("/login", "POST", "same-origin", False),
        ("/roadshift/segment", "POST", "same-origin", True),
        ("/roadshift/segment", "POST", "cross-site", False),
        ("/roadshift/segment", "POST", "", True),  # curl
    ],
)
def test_only_the_page_s_own_doors_are_open(path, method, site, open_) -> None:
    passed: list[dict] = []

    async def app(scope, receive, send) -> None:
        passed.append(scope)

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 403

    headers = [(b"sec-fetch-site", site.encode())] if site else []
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    anyio.run(Doors(app), scope, None, send)
    assert bool(passed) == open_


@pytest.mark.parametrize(
    ("path", "site", "open_"),
    [
        (LIVE, "same-origin", True),
        (LIVE, "", True),  # no browser
        (LIVE, "cross-site", False),
        ("/roadshift/segment", "same-origin", False),
        ("/gradio_api/queue/data", "same-origin", False),
        ("/", "same-origin", False),
    ],
)
def test_one_door_is_open_to_sockets(path, site, open_) -> None:
    passed: list[dict] = []

    async def app(scope, receive, send) -> None:
        passed.append(scope)

    async def send(message) -> None:
        if message["type"] == "websocket.http.response.start":
            assert message["status"] == 403

    headers = [(b"sec-fetch-site", site.encode())] if site else []
    anyio.run(Doors(app), {"type": "websocket", "path": path, "headers": headers}, None, send)
    assert bool(passed) == open_
