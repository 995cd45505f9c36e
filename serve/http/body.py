"""A request's body, read no further, no slower and no larger than the limits allow."""

from __future__ import annotations

from contextlib import aclosing

import anyio.to_thread
from starlette.requests import Request

from serve.limits import Limits, Refusal
from serve.media.codec import inflate
from serve.models.byte_budget import Share
from serve.models.workers import now

_START_SECONDS = 5.0
"""How long a body may be slower than the least rate, for connections to get going."""


async def read_body(request: Request, limits: Limits, share: Share) -> bytes:
    """The body, decompressed; its bytes are taken out of `share`.

    Raises Refusal: 413 too large, 408 too slow, 429 as Share.take, 400 and 415 as inflate.
    ClientDisconnect when the client leaves half way.
    """
    announced = request.headers.get("content-length", "0")
    if int(announced) > limits.body_bytes:  # the HTTP parser refuses what is no number
        raise _too_large(limits)
    body = bytearray()
    began = now()
    try:
        with anyio.fail_after(limits.body_seconds) as scope:
            async with aclosing(request.stream()) as chunks:
                latest = scope.deadline
                scope.deadline = min(latest, began + _START_SECONDS)
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limits.body_bytes:
                        raise _too_large(limits)
                    share.take(len(chunk))
                    due = began + _START_SECONDS + len(body) / limits.body_rate
                    scope.deadline = min(latest, due)
    except TimeoutError:
        raise Refusal(
            408,
            f"the body did not arrive within {limits.body_seconds:g} s, and at "
            f"{limits.body_rate} bytes a second or more",
        ) from None
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return bytes(body)
    whole = await anyio.to_thread.run_sync(inflate, bytes(body), encoding, limits.body_bytes)
    share.take(len(whole))
    return whole


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is larger than {limits.body_bytes} bytes: send less at a time")
