"""WebSocket /stream: image files in, one a message; an answer to the newest, as soon as may be."""

from __future__ import annotations

from starlette.websockets import WebSocket

from serve.http.segment import SegmentWork, asked_model, asked_query
from serve.http.stream.frame_stream import FrameAnswer, answer_frames
from serve.http.stream.newest_frame import StreamedFrame
from serve.limits import Refusal
from serve.models.byte_budget import Share
from serve.models.service import Service
from serve.models.workers import deadline_of


async def stream(service: Service, socket: WebSocket) -> None:
    """Answers frames with what was asked for; see `answer_frames`.

    Raises Refusal before the stream begins.
    """
    model = asked_model(service, socket.query_params)
    query = asked_query(socket.query_params)
    if query.monitor:
        service.monitor.require(model)
    service.readiness.require()
    if service.streams >= service.limits.streams:
        raise Refusal(503, f"{service.streams} streams are open: try again later")

    async def answer(frame: StreamedFrame) -> FrameAnswer:
        deadline = deadline_of(frame.arrived, query.timeout)
        model = asked_model(service, socket.query_params)
        with service.accounted(model), Share(service.bodies) as share:
            share.take(len(frame.content))
            work = SegmentWork(service, model, query, deadline)
            file, times, checked = await work.answer(frame.content, "")
        score = {"monitor_score": round(checked[0].score, 3)} if checked else {}
        return FrameAnswer({"type": file.media_type, "times": times, **score}, file.content)

    def count(outcome: str) -> None:
        service.metrics.frames.labels(outcome).inc()

    service.streams += 1
    try:
        await answer_frames(socket, service.limits.stream_idle_seconds, answer, count)
    finally:
        service.streams -= 1
