import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from roadshift import Failure, UserError
from serve.cli.device_options import DeviceOptions
from serve.cli.segment import segment
from serve.cli.serve import serve
from serve.http.listening_socket import listen
from serve.media.codec import encode_png

ROOT = Path(__file__).resolve().parents[2]


def test_segment(tiny, tmp_path, kit, capsys):
    image = tmp_path / "a.png"
    image.write_bytes(encode_png(kit.random_image(1)))
    for said in ("wrote 2 file(s)", "1 up to date (--overwrite makes them again)"):
        segment(tiny.folder, image, out=tmp_path / "out", device=DeviceOptions(threads=1))
        assert said in capsys.readouterr().out


def test_precision_and_route_are_the_engines(tiny, tmp_path, kit):
    image = tmp_path / "a.png"
    image.write_bytes(encode_png(kit.random_image(1)))
    with pytest.raises(UserError, match="has the precisions fp32, no int8"):
        segment(tiny.folder, image, out=tmp_path, device=DeviceOptions(precision="int8"))
    with pytest.raises(UserError, match="no exact route"):
        serve((tiny.folder,), device=DeviceOptions(route="exact"))


def test_segment_tries_the_golden_frames_first(tiny, tmp_path, kit):
    """A bundle that answers otherwise than it was exported draws nothing."""
    golden = [one._replace(labels=one.labels * 0) for one in tiny.golden()]
    bundle = kit.make_bundle(tmp_path / "b", golden=golden)
    image = tmp_path / "a.png"
    image.write_bytes(encode_png(kit.random_image(1)))
    with pytest.raises(Failure, match="of a golden frame's labels"):
        segment(bundle.folder, image, out=tmp_path / "out", device=DeviceOptions(threads=1))
    assert not (tmp_path / "out").exists()


def test_remarks_are_printed(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("serve.media.segment_files.segment", _remarking)
    segment(tiny.folder, tmp_path, out=tmp_path / "out")
    assert "note: odd" in capsys.readouterr().out


def _remarking(_, __, ___, *, progress, **____):
    from serve.media.segment_files import Report  # noqa: PLC0415

    progress(1, 0)
    return Report([], 0, ["odd"])


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(UserError, match="not a bundle"):
        serve((tmp_path,))


def test_serve_answers_and_stops_at_sigterm(tiny):
    code = "import sys, roadshift; roadshift.main(['serve', sys.argv[1], '--port', '0'])"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(tiny.folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            address = re.search(r"serving tiny on (http://127\.0\.0\.1:[1-9]\d*) ", said)
            assert address, said
            with httpx.Client(base_url=address[1], timeout=60) as client:
                while client.get("/v2/health/ready").status_code != 200:
                    assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # or leaving would wait for it
    assert process.returncode in (0, -signal.SIGTERM), errors
    assert "Traceback" not in errors
    assert "INFO - tiny: fp32, labels by the dense route: the bundle has no other" in errors
    assert re.search(
        r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO [0-9a-f]{16} 127\.0\.0\.1 GET "
        r"/v2/health/ready 200 in=0 out=14 ms=\d+\.\d$",
        errors,
        re.MULTILINE,
    )


def test_an_address_that_is_taken_or_wrong():
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(.*in use"):
            listen("127.0.0.1", port)
    for port in (-1, 70000):
        with pytest.raises(UserError, match=rf"cannot listen on port {port}: wanted 0 .* to 65535"):
            listen("127.0.0.1", port)
    with pytest.raises(UserError, match=r"cannot listen on no such host:80 "):
        listen("no such host", 80)


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    with listen("::1", 0) as bound:
        assert bound.family == socket.AF_INET6


def test_only_this_machine_is_listened_to_by_default(exact, monkeypatch):
    asked = []

    def elsewhere(host, port):
        asked.append((host, port))
        return listen("127.0.0.1", 0)

    def record(graphs, bound, limits, *, before, beside, openers):
        asked.append((graphs[0].bundle.name, limits.waiting, before.__self__, openers))
        asked.append([graph.spec.kind for graph in graphs])
        raise Failure("enough")

    monkeypatch.setattr("serve.http.listening_socket.listen", elsewhere)
    monkeypatch.setattr("serve.http.server.Server", record)
    with pytest.raises(Failure, match="enough"):
        serve((exact.folder,))
    kinds = ["segmentor", "reconstructor", "translator"]
    assert asked == [("127.0.0.1", 8000), ("tiny", 8, ((), None), None), kinds]


def test_no_torch_and_no_other_stage_is_imported():
    code = """
import sys
import serve.cli.segment, serve.cli.serve, serve.cli.verify
import serve.http.app, serve.http.server, serve.media.segment_files
strange = [m for m in sys.modules if m.split(".")[0] in ("torch", "adapt", "jaxtyping")]
strange += [m for m in sys.modules if m.startswith("export.") and m.split(".")[1] != "bundle"]
import serve.device_check.verify, serve.runtime.tensorrt.plan
strange += [m for m in sys.modules if m.split(".")[0] in ("torch", "adapt", "jaxtyping")]
sys.exit(", ".join(strange) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
