"""What an operator sees: metrics, the log, request ids, several bundles."""

import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.bundle import read_bundle
from roadshift import UserError
from serve.http.listening_socket import listen
from serve.http.server import Server, _affordable
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.runtime.engine import Engine


def figures(client):
    """All samples of /metrics by name and labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_metrics_count_what_the_client_counts(tiny, kit):
    data = encode_png(kit.random_image(1))
    with kit.running(tiny, Limits(pixels=4000)) as client:
        for _ in range(3):
            kit.small(client)
        client.post(kit.INFER, **kit.binary(np.zeros((2, 16, 16, 3), np.uint8)))
        kit.error(client.post("/segment", content=b"GIF89a", headers=kit.PNG), 415)
        kit.error(client.post("/segment?timeout=1", content=data, headers=kit.PNG), 504)
        found = figures(client)
    assert found["nv_inference_request_success", "1", "tiny"] == 4
    assert found["nv_inference_count", "1", "tiny"] == 5
    assert found["nv_inference_exec_count", "1", "tiny"] == 4
    assert found["nv_inference_request_failure", "1", "OTHER", "tiny"] == 1
    assert found["nv_inference_request_failure", "1", "REJECTED", "tiny"] == 1
    assert found["nv_inference_request_failure", "1", "BACKEND", "tiny"] == 0
    assert found["nv_inference_pending_request_count", "1", "tiny"] == 0
    assert found["nv_inference_compute_infer_duration_us", "1", "tiny"] > 0
    for stage in ("decode", "queue", "infer", "encode"):
        assert found["roadshift_stage_seconds_count", stage, "tiny"] == 4
    assert found["roadshift_batch_images_sum", "tiny"] == 5
    assert found["roadshift_http_requests_total", *sorted(("/segment", "200"))] == 3
    assert found["roadshift_http_requests_total", *sorted(("/segment", "415"))] == 1
    assert found["roadshift_body_bytes",] == 0
    assert found["roadshift_connections",] == 1


def test_addresses_do_not_become_labels(client):
    """Or whoever asks for many addresses fills the memory."""
    for i in range(5):
        client.get(f"/nowhere/{i}")
        client.get(f"/v2/models/nobody{i}")
    routes = {key[1:] for key in figures(client) if key[0] == "roadshift_http_requests_total"}
    assert ("404", "unknown") in routes
    assert not [route for route in routes if "nobody" in str(route) or "nowhere" in str(route)]


def test_a_request_has_an_id_in_its_answer_and_in_the_log(client, caplog, kit):
    caplog.set_level("INFO", "serve.access")
    given = client.get("/v2/health/live", headers={"X-Request-Id": "drive-7/frame:12"})
    assert given.headers["x-request-id"] == "drive-7/frame:12"
    line = r"127\.0\.0\.1 GET /v2/health/live 200 in=0 out=\d+ ms=\d+\.\d"
    kit.wait_until(lambda: any(re.fullmatch(line, message) for message in caplog.messages))
    for strange in ("x" * 65, "two words", "a\tb", ""):
        made = client.get("/v2/health/live", headers={"X-Request-Id": strange})
        assert re.fullmatch("[0-9a-f]{16}", made.headers["x-request-id"])


def test_a_line_of_the_log_is_one_line(client, caplog, kit):
    caplog.set_level("INFO", "serve.access")
    client.get("/a%0AERROR forged%1b[2J")
    client.get("/v2/health/live")
    kit.wait_until(lambda: r"GET /a\nERROR forged\u001b[2J 404" in caplog.text)


def test_several_bundles(tiny, tmp_path, kit):
    other = kit.make_bundle(tmp_path / "other", name="other")
    engines = [Engine(bundle, threads=1) for bundle in (tiny, other)]
    with kit.running(tiny, engines=engines) as client:
        index = client.post("/v2/repository/index").json()
        assert [model["name"] for model in index] == ["tiny", "other"]
        image = kit.random_image(1)
        for name in ("tiny", "other"):
            response = client.post(f"/v2/models/{name}/infer", **kit.binary(image[None]))
            assert response.json()["model_name"] == name
            answer = client.post(
                f"/segment?model={name}&as=json", content=encode_png(image), headers=kit.PNG
            )
            assert answer.json()["model"] == name
        found = figures(client)
        assert found["nv_inference_count", "1", "tiny"] == 2
        assert found["nv_inference_count", "1", "other"] == 2


def test_two_bundles_of_one_name(tiny):
    engines = [Engine(read_bundle(tiny.folder), threads=1) for _ in range(2)]
    with listen("127.0.0.1", 0) as bound, pytest.raises(UserError, match="two of the bundles are"):
        Server(engines, bound, Limits())


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "raised"),
    [(1024, 4096, 512, 1024), (256, 4096, 512, 704), (256, 300, 108, 300), (4096, -1, 512, 4096)],
)
def test_connections_keep_below_the_files_that_may_be_open(monkeypatch, soft, hard, wanted, raised):
    now = [soft]
    monkeypatch.setattr("resource.getrlimit", lambda _: (now[0], hard))
    monkeypatch.setattr("resource.setrlimit", lambda _, pair: now.__setitem__(0, pair[0]))
    assert _affordable(512) == wanted
    assert now[0] == raised


def test_too_few_files(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    with pytest.raises(UserError, match="may open 64 files, and the server needs 193 or more"):
        _affordable(512)
