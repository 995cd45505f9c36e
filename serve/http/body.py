"""A request's body, read no further than the limits allow."""

from __future__ import annotations

from contextlib import aclosing

import anyio.to_thread
from starlette.requests import Request

from serve.limits import Limits, Refusal
from serve.media.codec import inflate


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, decompressed. Raises Refusal: 413 too large, 408 too slow, 400 and 415 as inflate.

    ClientDisconnect when the client leaves half way. What is not read after a refusal, the HTTP
    server reads and drops, so the client can read why.
    """
    announced = request.headers.get("content-length", "0")
    if int(announced) > limits.body_bytes:  # the HTTP parser refuses what is no number
        raise _too_large(limits)
    body = bytearray()
    try:
        with anyio.fail_after(limits.body_seconds):
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limits.body_bytes:
                        raise _too_large(limits)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {limits.body_seconds:g} s") from None
    encoding = request.headers.get("content-encoding", "")
    return await anyio.to_thread.run_sync(inflate, bytes(body), encoding, limits.body_bytes)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is larger than {limits.body_bytes} bytes: send less at a time")
