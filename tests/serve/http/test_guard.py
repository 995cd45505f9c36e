"""Keys: who has none is refused, over every way in."""

import json
import threading

import anyio
import grpc
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from roadshift import UserError
from serve.cli.access_options import AccessOptions
from serve.cli.serve import serve
from serve.grpc.server import grpc_on
from serve.http.guard import Guard, HostCheck, OriginCheck
from serve.models.api_keys import ApiKeys, read_keys

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def guarded(tiny, kit):
    """A server that wants a key, and its address over gRPC."""
    ports, keys = [], ApiKeys([OTHER, KEY])
    face = grpc_on("127.0.0.1", 0, ports.append, keys)
    with kit.running(tiny, beside=face, before=Guard(keys=keys).before) as client:
        yield client, f"127.0.0.1:{ports[0]}"


@pytest.mark.parametrize(
    "value", ["", KEY, "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer \xe9"]
)
def test_no_key_no_answer(guarded, kit, value):
    client, _ = guarded
    headers = {"Authorization": value.encode("latin-1")}
    for method, path in (("GET", "/"), ("GET", "/metrics"), ("POST", "/segment"), ("POST", "/x")):
        answer = client.request(method, path, headers=headers)
        assert "Authorization: Bearer KEY" in kit.error(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer  {OTHER}"])
def test_any_of_the_keys_opens(guarded, value):
    assert guarded[0].get("/metrics", headers={"Authorization": value}).status_code == 200


def test_who_has_no_key_cannot_keep_a_call_open(guarded):
    """It is refused before its message, which never comes."""
    with grpc.insecure_channel(guarded[1]) as channel:
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        silent = threading.Event()
        refused = call.future(iter(lambda: silent.wait(10) and b"", None))
        assert refused.exception(timeout=5).code() == grpc.StatusCode.UNAUTHENTICATED
        silent.set()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1"])
def test_every_loopback_address_answers_to_its_names_alone(address):
    guard = Guard().before(None, address)
    assert isinstance(guard, HostCheck)
    assert {address, "localhost"} <= set(guard._hosts)
    assert isinstance(Guard().before(None, "0.0.0.0"), OriginCheck)


def test_probes_need_no_key(guarded):
    client, address = guarded
    for path in ("live", "ready"):
        assert client.get(f"/v2/health/{path}").status_code == 200
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_grpc(guarded):
    with triton.InferenceServerClient(guarded[1]) as remote:
        for headers in (None, {"authorization": "Bearer wrong"}):
            with pytest.raises(InferenceServerException) as caught:
                remote.get_server_metadata(headers=headers)
            assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        assert remote.get_server_metadata(headers={"authorization": f"Bearer {KEY}"})


def test_streams(guarded):
    address = f"ws://{guarded[0].address}/stream"
    with pytest.raises(InvalidStatus) as caught:
        connect(address)
    assert caught.value.response.status_code == 401
    assert "error" in json.loads(caught.value.response.body)
    with connect(address, additional_headers=BEARER) as plug:
        plug.ping()


def test_other_machines_need_a_key_unless_it_is_said(tiny, tmp_path):
    with pytest.raises(UserError, match=r"--host 0\.0\.0\.0 lets other machines in: name a file"):
        serve((tiny.folder,), host="0.0.0.0", port=0)
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert AccessOptions().keys(host) is None
    for host in ("::", "192.168.1.2", "example.org", ""):
        with pytest.raises(UserError, match="lets other machines in"):
            AccessOptions().keys(host)
        assert AccessOptions(no_key=True).keys(host) is None
    path = tmp_path / "keys"
    path.write_text(f"{KEY}\n{OTHER}\n")
    keys = AccessOptions(api_key_file=path).keys("0.0.0.0")
    assert keys.opens(f"Bearer {OTHER}")
    with pytest.raises(UserError, match="exclude each other"):
        AccessOptions(api_key_file=path, no_key=True).keys("0.0.0.0")


@pytest.mark.parametrize("content", [b"", b"\n", b"short", f"{KEY}\nshort".encode(), b"\xff" * 20])
def test_files_without_good_keys(tmp_path, content):
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"wanted keys of 16 letters or more|cannot be read"):
        read_keys(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_keys(tmp_path / "nothing")


@pytest.mark.parametrize("origin", [b"null", b"", b"http://"])
def test_an_origin_without_a_name_is_no_server_without_one(origin: bytes) -> None:
    statuses = list[int]()

    async def app(*_) -> None:
        raise AssertionError("it got through")

    async def send(message) -> None:
        statuses.append(message.get("status", 0))

    headers = [(b"host", b""), (b"origin", origin)]
    scope = {"type": "http", "method": "POST", "path": "/segment", "headers": headers}
    anyio.run(OriginCheck(app, []), scope, None, send)
    assert statuses[0] == 403
