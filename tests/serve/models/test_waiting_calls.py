"""Calls that wait for a thread: in turn, bounded, and gone with whoever waited for them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from serve.limits import Refusal
from serve.models.workers import Workers


class Body:
    """As large as one likes."""

    def decoded(self) -> str:
        return "decoded"


async def cancelled_behind(gate: threading.Event) -> tuple[Body | None, str]:
    """What is left, while another one has the only thread, of a body whose request went away; and
    what came of one that stayed."""
    workers = Workers("being decoded", 1, 2)
    first = asyncio.create_task(workers.run(gate.wait))
    body = Body()
    left, gone = asyncio.create_task(workers.run(body.decoded)), weakref.ref(body)
    stays = asyncio.create_task(workers.run(Body().decoded))
    await asyncio.sleep(0)
    with pytest.raises(Refusal, match="3 requests are being decoded: try again later"):
        await workers.run(Body().decoded)
    left.cancel()
    await asyncio.wait([left])
    del body, left
    gc.collect()
    held = gone()
    gate.set()
    await first
    answer = await stays
    workers.close()
    return held, answer


def test_what_is_cancelled_holds_nothing_while_the_threads_are_busy() -> None:
    left, answer = asyncio.run(cancelled_behind(threading.Event()))
    assert left is None
    assert answer == "decoded"
