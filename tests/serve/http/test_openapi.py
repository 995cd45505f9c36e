"""The OpenAPI document: whole, and true, as schemathesis finds."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.routing import Route

from export.bundle import RECONSTRUCTOR
from serve.http.app import build_app
from serve.http.openapi.document import document
from serve.http.openapi.images import PRODUCTS
from serve.http.segment import PARAMETERS
from serve.limits import Limits
from serve.media.answers import KINDS
from serve.models.service import Service
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of

TESTS = Path(__file__).resolve().parents[2]


def test_every_route_is_described(tiny):
    service = Service([Engine(tiny, threads=1)], Limits())
    routes = [route for route in build_app(service).routes if isinstance(route, Route)]
    there = {(r.path, m.lower()) for r in routes for m in r.methods or () if m != "HEAD"}
    paths = document(service)["paths"]
    assert there == {(path, m) for path, of in paths.items() for m in of if m != "parameters"}


def test_what_segment_takes_is_described(tiny):
    service = Service([Engine(tiny, threads=1)], Limits(body_bytes=12_345))
    described = document(service)["paths"]["/segment"]["post"]
    assert sorted(each["name"] for each in described["parameters"]) == sorted(PARAMETERS)
    assert tuple(PRODUCTS) == KINDS
    assert "12345 bytes" in described["requestBody"]["description"]
    assert f"0 {tiny.classes[0]}, 1 {tiny.classes[1]}" in described["description"]


@pytest.mark.parametrize(("bundle", "values"), [("drawn", [0]), ("checked", [0, 1])])
def test_a_self_check_is_offered_where_there_is_one(bundle, values, request):
    found = request.getfixturevalue(bundle)
    graphs = [Engine(found, threads=1), image_graph_of(found, RECONSTRUCTOR)]
    described = document(Service(graphs, Limits()))["paths"]["/segment"]["post"]["parameters"]
    monitor = next(each for each in described if each["name"] == "monitor")
    assert monitor["schema"]["enum"] == values


def test_it_is_there_when_all_is_unloaded(tiny, kit):
    with kit.running(tiny, openers={"tiny": list}) as client:
        before = client.get("/openapi.json").json()
        assert client.post("/v2/repository/models/tiny/unload").status_code == 200
        after = client.get("/openapi.json").json()
    model = "/v2/models/{model}"
    assert before["paths"][model]["parameters"][0]["examples"] == {"tiny": {"value": "tiny"}}
    assert after["paths"][model]["parameters"][0]["examples"] == {}
    assert before["paths"].keys() == after["paths"].keys()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis")
def test_it_is_true(drawn, kit, tmp_path):
    """Every answer has a status, a type and a body as described, whatever is sent."""
    options = "--max-examples 12 --seed 1 --phases examples,coverage,fuzzing --warnings off"
    with kit.running(drawn, Limits(waiting=64)) as client:
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from schemathesis.cli import schemathesis as st; st()"),
                *("--config-file", str(TESTS / "schemathesis.toml"), "run"),
                *(f"http://{client.address}/openapi.json", *options.split()),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TESTS), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        counted = client.server.service.metrics.text().decode()
    assert done.returncode == 0, done.stdout + done.stderr
    for route, status in (
        ("/segment", 200),
        ("/segment", 400),
        ("/v2/models/{model}/infer", 200),
        ("/v2/models/{model}/infer", 400),
        ("/v2/models/{model}/versions/{version}/config", 200),
        ("/v2/repository/models/{model}/load", 403),
    ):
        assert f'route="{route}",status="{status}"' in counted, done.stdout
