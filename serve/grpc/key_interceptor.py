"""Calls without a key are answered by a refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from serve.grpc.health import HEALTH
from serve.models.api_keys import REFUSAL, ApiKeys


class KeyInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls pass whose metadata bear one of the keys, and probes of health."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The call's own handler, or one that refuses it."""
        metadata = dict(handler_call_details.invocation_metadata)
        probe = handler_call_details.method.startswith(f"/{HEALTH}/")
        if probe or self._keys.opens(metadata.get("authorization", "")):
            return await continuation(handler_call_details)
        return grpc.stream_unary_rpc_method_handler(_refuse)  # its message is not waited for


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
