"""Work that ends when the client that asked for it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from serve.limits import GONE, Refusal

T = TypeVar("T")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. When the client leaves first, it is cancelled, and Refusal GONE raised.

    The request's body must have been read: what still comes in is dropped.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(GONE, "the client has gone")
        return await task
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _left(request: Request) -> None:
    # Reading on is also what makes the server look at a connection whose body was large: it stops
    # reading there, and would not see the end of it.
    while (await request.receive())["type"] != "http.disconnect":
        pass
