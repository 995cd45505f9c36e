"""A request's body, read no further, no slower and no larger than the limits allow."""

from __future__ import annotations

from contextlib import aclosing, suppress

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from serve.http.connection import LINGER_BYTES, LINGER_SECONDS
from serve.limits import GONE, Limits, Refusal
from serve.media.codec import inflate
from serve.models.byte_budget import Share, no_room
from serve.models.workers import now

_START_SECONDS = 5.0
"""How long a body may be slower than the least rate, for connections to get going."""


async def read_body(request: Request, limits: Limits, share: Share) -> bytes:
    """The body, decompressed; its bytes are taken out of `share`.

    Raises Refusal: 413 too large, 408 too slow, 429 as Share.take, 400 and 415 as inflate, GONE
    when the client leaves half way.
    """
    announced = request.headers.get("content-length", "0")
    if int(announced) > limits.body_bytes:  # the HTTP parser refuses what is no number
        if request.headers.get("connection", "").lower() == "close":
            await _dropped(request)
        raise _too_large(limits)
    try:
        body = await _read(request, limits, share)
    except TimeoutError:
        raise Refusal(
            408,
            f"the body did not arrive within {limits.body_seconds:g} s, and at "
            f"{limits.body_rate} bytes a second or more",
        ) from None
    except ClientDisconnect:
        raise Refusal(GONE, "the client has gone") from None
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    async with share.inflating:
        inflated = await anyio.to_thread.run_sync(inflate, body, encoding, limits.body_bytes)
        share.take(len(inflated))
    return inflated


async def _dropped(request: Request) -> None:
    """Reads on for a while, so that a client that sends all of it first then sees the answer.

    Where a connection stays open, it does that itself; one that ends would be reset.
    """
    count = 0
    with anyio.move_on_after(LINGER_SECONDS), suppress(ClientDisconnect):
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                count += len(chunk)
                if count > LINGER_BYTES:
                    return


async def _read(request: Request, limits: Limits, share: Share) -> bytes:
    """The body as it comes in; TimeoutError when it is too slow."""
    body, count = list[bytes](), 0
    began = now()
    latest = began + limits.body_seconds
    with anyio.CancelScope() as room, anyio.fail_after(limits.body_seconds) as scope:
        share.comes(room.cancel)
        scope.deadline = min(latest, began + _START_SECONDS)
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                share.take(len(chunk))
                body.append(chunk)
                count += len(chunk)
                if count > limits.body_bytes:
                    raise _too_large(limits)
                due = began + _START_SECONDS + count / limits.body_rate
                scope.deadline = min(latest, due)
    share.whole()
    if room.cancelled_caught:
        raise no_room()
    if scope.cancelled_caught:  # also where a last chunk moved the deadline that had passed
        raise TimeoutError
    return b"".join(body)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is larger than {limits.body_bytes} bytes: send less at a time")
