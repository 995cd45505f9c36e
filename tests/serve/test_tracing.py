"""Traces as a collector gets them: from a real server of both protocols, by OTLP over HTTP."""

import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module

import pytest
import tritonclient.grpc as triton
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from websockets.sync.client import connect

from roadshift import UserError
from serve.cli.serve import serve
from serve.grpc.server import grpc_on
from serve.http.app import no_other_face
from serve.http.guard import Guard
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.models.api_keys import ApiKeys
from serve.tracing import Tracing

STAGES = ["decode", "queue", "infer", "encode"]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector():
    """Its address, and the spans that it gets, as (service, span)."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: one.value.string_value for one in each.resource.attributes}
                spans.extend((about["service.name"], s) for x in each.scope_spans for s in x.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/", spans
        server.shutdown()


@contextmanager
def traced(bundle, kit, limits=None, keys=None):
    """A client of a traced server, its gRPC address, and its spans once it has ended."""
    ports, spans = [], []
    with collector() as (address, found):
        tracing = Tracing(address)
        face = grpc_on("127.0.0.1", 0, ports.append, keys, inner=[tracing.interceptor()])
        before = tracing.around(Guard(keys=keys).before)
        more = {"beside": tracing.beside(face), "before": before}
        with kit.running(bundle, limits, **more) as client:
            yield client, f"127.0.0.1:{ports[0]}", spans
        assert {service for service, _ in found} <= {"roadshift"}
        spans += [span for _, span in found]


def by_request(spans):
    """Each root's span, and the names of those inside in the order of their beginnings."""
    inside = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        inside[span.parent_span_id].append(span)
    ids = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_span_id not in ids]
    return [(root, inside[root.span_id]) for root in roots]


def values(span):
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_request_and_its_stages(tiny, kit):
    data = encode_png(kit.random_image(1))
    with traced(tiny, kit) as (client, _, spans):
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "frame-7"}
        assert client.post("/segment", content=data, headers=headers).status_code == 200
        client.get("/metrics")
        with connect(f"ws://{client.address}/stream") as stream:
            stream.send(data)
            stream.recv()
    [(root, inside)] = by_request(spans)
    assert root.trace_id.hex() == TRACE
    assert root.parent_span_id.hex() == CALLER
    assert values(root)["request.id"] == "frame-7"
    assert values(root)["http.status_code"] == 200
    assert [span.name for span in inside] == STAGES
    for span in inside:
        assert values(span) == {"model": "tiny"}
        assert root.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano


def test_requests_that_run_together_are_traced_apart(tiny, kit):
    data = encode_png(kit.random_image(1))
    limits = Limits(max_batch=2, batch_delay_ms=5000)
    with traced(tiny, kit, limits) as (client, _, spans), ThreadPoolExecutor(2) as pool:
        runs = client.engine.runs
        sent = [pool.submit(client.post, "/segment", content=data) for _ in range(2)]
        assert [each.result().status_code for each in sent] == [200, 200]
        assert client.engine.runs == runs + 1
    found = by_request(spans)
    assert len({root.trace_id for root, _ in found}) == 2
    assert [[span.name for span in inside] for _, inside in found] == [STAGES, STAGES]


def test_what_is_refused_and_what_is_asked_over_grpc(tiny, kit):
    key = "0123456789abcdef"
    with traced(tiny, kit, keys=ApiKeys([key])) as (client, address, spans):
        assert client.post("/segment", content=b"").status_code == 401
        image = triton.InferInput("image", [1, 16, 24, 3], "UINT8")
        image.set_data_from_numpy(kit.random_image(1)[None, :16, :24])
        with triton.InferenceServerClient(address) as remote:
            about = {"authorization": f"Bearer {key}"}
            remote.is_server_ready(headers=about)
            remote.infer("tiny", [image], headers=about)
    (refused, nothing), (call, inside) = by_request(spans)
    assert values(refused)["http.status_code"] == 401
    assert not nothing
    assert "ModelInfer" in call.name
    assert [span.name for span in inside] == STAGES
    assert key not in str(spans)


@pytest.mark.parametrize("address", ["localhost:4318", "file:///tmp/x", "http://"])
def test_no_address(fixed, address):
    with pytest.raises(UserError, match=r"--otlp-endpoint is .*http://localhost:4318"):
        serve((fixed.folder,), otlp_endpoint=address)


def test_the_extra_trace_does_without_that_of_grpc(monkeypatch):
    """As after pip install '.[cpu,trace]'."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    for name in [
        name for name in sys.modules if name.startswith(("serve.tracing", "opentelemetry"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    assert import_module("serve.tracing").Tracing("http://localhost:4318")


def test_it_is_an_extra(fixed, monkeypatch):
    monkeypatch.setitem(sys.modules, "serve.tracing", None)
    with pytest.raises(UserError, match=r"--otlp-endpoint needs roadshift\[trace\]"):
        serve((fixed.folder,), otlp_endpoint="http://localhost:4318")


def test_a_collector_that_never_answers_holds_up_the_end_no_longer_than_that(
    tiny, kit, monkeypatch
):
    monkeypatch.setattr("serve.tracing._LAST_SECONDS", 0.1)
    monkeypatch.setattr("serve.tracing.TracerProvider.shutdown", lambda _: ended.wait(60))
    ended, tracing = threading.Event(), Tracing("http://127.0.0.1:9")
    with kit.running(tiny, beside=tracing.beside(no_other_face)) as client:
        kit.small(client)
    assert not ended.is_set()  # and the server's thread has ended within the kit's 10 s
    ended.set()
