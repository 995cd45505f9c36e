"""No address has more than its part of the calls under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from inspect import isasyncgen
from typing import Any

import grpc


class AddressInterceptor(grpc.aio.ServerInterceptor):
    """Refuses a call from an address that has `most` of them under way: RESOURCE_EXHAUSTED.

    A call counts from its first bytes on, so every handler is made one of a stream, which is begun
    before its message is there: to the client that is the same.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The call's own handler, counted."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        made, call = (
            (grpc.stream_stream_rpc_method_handler, self._many_answers)
            if handler.response_streaming
            else (grpc.stream_unary_rpc_method_handler, self._one_answer)
        )
        return made(
            partial(call, handler), handler.request_deserializer, handler.response_serializer
        )

    async def _one_answer(self, handler: Any, requests: AsyncIterator[Any], context: Any) -> Any:
        with self._counted(context) as refused:
            if refused:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refused)
            if handler.request_streaming:
                return await handler.stream_unary(requests, context)
            return await handler.unary_unary(await _only(requests, context), context)

    async def _many_answers(self, handler: Any, requests: AsyncIterator[Any], context: Any) -> None:
        with self._counted(context) as refused:
            if refused:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refused)
            if handler.request_streaming:
                answers = handler.stream_stream(requests, context)
            else:
                answers = handler.unary_stream(await _only(requests, context), context)
            if not isasyncgen(answers):
                await answers
                return
            async for answer in answers:
                await context.write(answer)

    @contextmanager
    def _counted(self, context: Any) -> Generator[str]:
        """Counts the call inside; why it is refused, or nothing."""
        address = context.peer().rpartition(":")[0]
        many = self._under_way[address] >= self._most
        self._under_way[address] += 1
        try:
            yield (
                f"this address has {self._most} calls under way: try again later "
                "(--address-connections)"
                if many
                else ""
            )
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]


async def _only(requests: AsyncIterator[Any], context: Any) -> Any:
    async for request in requests:
        return request
    return await context.abort(
        grpc.StatusCode.INVALID_ARGUMENT, "the call has no message; wanted one"
    )
