"""What goes wrong while the server runs: a stop under load, strange tensors, endless bodies."""

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton

from serve.grpc.server import grpc_on
from serve.http.guard import OPEN
from serve.limits import Limits
from serve.media.codec import encode_png


def test_a_stop_under_load_loses_no_accepted_request(tiny, kit):
    """Each client's requests are answered or refused, and the server counts what they count."""
    data = encode_png(kit.random_image(1))
    accepted = Counter()

    def counted(app, host):
        guarded = OPEN.before(app, host)

        async def counting(scope, receive, send):
            accepted[scope.get("path")] += 1
            await guarded(scope, receive, send)

        return counting

    with kit.running(tiny, before=counted) as client, ThreadPoolExecutor(8) as pool:
        url, headers = f"http://{client.address}/segment", {**kit.PNG, "Connection": "close"}

        def ask():
            seen = Counter()
            while True:
                try:
                    answer = httpx.post(url, content=data, headers=headers)
                except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                    return seen  # nobody listens, or closed before a request was accepted
                seen[answer.status_code] += 1

        asking = [pool.submit(ask) for _ in range(8)]
        kit.wait_until(lambda: client.engine.runs > 20)
        client.server.uvicorn.should_exit = True
        seen = sum((each.result() for each in asking), Counter())
        metrics = client.server.service.segmentor.metrics
        assert seen.keys() <= {200, 429, 503}
        assert seen.total() == accepted["/segment"]
        assert seen[200] == metrics.tallies.success.count >= 20  # one run was the golden frame
        assert seen[429] + seen[503] == metrics.counts.failures["REJECTED"]
        assert sum(metrics.counts.failures.values()) == metrics.counts.failures["REJECTED"]


def test_4_gb_declared(client, kit):
    host, port = client.address.split(":")
    for path in ("/segment", kit.INFER, "/v2/repository/index"):
        with socket.create_connection((host, int(port)), timeout=10) as plug:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {4 << 30}\r\n\r\n"
            plug.sendall(head.encode())
            assert plug.recv(4096).startswith(b"HTTP/1.1 413")
    assert client.server.service.bodies.used == 0
    kit.small(client)


def test_floats_that_are_no_numbers(client, kit):
    """Binary tensors of a type that the model does not take, whatever they hold."""
    values = np.full((1, 8, 8, 3), np.nan, np.float32)
    head = (
        b'{"inputs":[{"name":"image","shape":[1,8,8,3],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":768}}]}'
    )
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post(kit.INFER, content=head + values.tobytes(), headers=headers)
    assert "wanted UINT8" in kit.error(answer, 400)
    for number in ("NaN", "Infinity", "1e999", "-1", "256", "0.5"):
        data = ",".join([number] * 192)
        tensor = '{"name":"image","shape":[1,8,8,3],"datatype":"UINT8","data":['
        content = '{"inputs":[' + tensor + data + "]}]}"
        kit.error(client.post(kit.INFER, content=content), 400)


@pytest.mark.parametrize("how", ["segment", "http", "grpc"])
def test_who_has_priority_is_run_first(tiny, kit, how):
    image, order, ports = kit.random_image(1), [], []
    data = encode_png(image)
    face = grpc_on("127.0.0.1", 0, ports.append)
    with kit.running(tiny, Limits(), beside=face) as client, ThreadPoolExecutor(3) as pool:
        protocol = triton if how == "http" else triton_grpc
        address = client.address if how == "http" else f"127.0.0.1:{ports[0]}"

        def ask(name, priority):
            if how == "segment":
                path = f"/segment?priority={priority}"
                assert client.post(path, content=data, headers=kit.PNG).status_code == 200
            else:
                tensor = protocol.InferInput("image", [1, *image.shape], "UINT8")
                tensor.set_data_from_numpy(image[None])
                remote = protocol.InferenceServerClient(address)
                remote.infer("tiny", [tensor], priority=priority)
                remote.close()
            order.append(name)

        client.engine.gate.clear()
        client.engine.entered.clear()
        asked = [pool.submit(ask, "running", 0)]
        assert client.engine.entered.wait(5)
        for i, (name, priority) in enumerate((("usual", 2), ("first", 1)), 2):
            asked.append(pool.submit(ask, name, priority))
            kit.wait_until(lambda i=i: client.taken == i)
        line = [job.first for job in client.server.service.segmentor.line._line]
        assert line == [True, False]
        client.engine.gate.set()
        for each in asked:
            each.result()
        assert sorted(order) == ["first", "running", "usual"]


@pytest.mark.parametrize("priority", ["3", "-1", "x"])
def test_wrong_priorities(client, kit, priority):
    answer = client.post(f"/segment?priority={priority}", content=b"", headers=kit.PNG)
    assert "priority" in kit.error(answer, 400)
    image = kit.binary(kit.random_image(1)[None], parameters={"priority": priority})
    assert "the priority is" in kit.error(client.post(kit.INFER, **image), 400)
