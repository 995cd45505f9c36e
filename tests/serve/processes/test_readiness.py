"""When a server that is one of several is ready, and when it listens."""

import asyncio
import multiprocessing
import threading
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

from roadshift import UserError
from serve.cli.served import Worker
from serve.http.listening_socket import listen
from serve.http.server import Server
from serve.limits import Limits


@contextmanager
def run(tiny, kit):
    """A server that has not begun, its engine held up, and what begins it."""
    engine = kit.GatedEngine(tiny)
    engine.gate.clear()
    with listen("127.0.0.1", 0) as bound:
        server = Server([engine], bound, Limits())
        thread = threading.Thread(target=server.run)
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/v2/health/ready"
        try:
            yield server, engine, thread, lambda wait=10: httpx.get(address, timeout=wait)
        finally:
            engine.gate.set()
            server.stop()
            thread.join(10)


def test_it_waits_for_the_others(tiny, kit):
    others = threading.Event()
    with run(tiny, kit) as (server, engine, thread, asked):
        server.service.readiness.others_ready = lambda: asyncio.to_thread(others.wait, 10)
        thread.start()
        engine.gate.set()
        assert engine.entered.wait(10)
        assert asked().status_code == 503
        others.set()
        kit.wait_until(lambda: asked().status_code == 200)


def test_one_that_replaces_another_listens_once_it_is_ready(tiny, kit):
    with run(tiny, kit) as (server, engine, thread, asked):
        server.service.readiness.late = True
        thread.start()
        assert engine.entered.wait(10)
        with pytest.raises(httpx.ReadTimeout):  # another process would take the connection
            asked(0.5)
        engine.gate.set()
        kit.wait_until(lambda: server.uvicorn.started)
        assert asked().status_code == 200


@pytest.mark.parametrize(("error", "logged"), [(RuntimeError, True), (UserError, False)])
def test_a_worker_that_breaks_says_where_unless_it_is_the_users_mistake(
    error, logged, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("serve.http.envelope.log_to_stderr", lambda: None)
    monkeypatch.setattr("serve.cli.served.read_bundle", Mock(side_effect=error("no such bundle")))
    ours, theirs = multiprocessing.Pipe()
    work = Worker(served=Mock(bundles=(Path("city"),)), count=2, folder=Path("unused"))
    work(1, Mock(), theirs, False)
    assert ours.recv() == "no such bundle"
    assert ("worker 1 failed" in caplog.text and "Traceback" in caplog.text) == logged
