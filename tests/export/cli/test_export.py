from __future__ import annotations

from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from export.bundle import Trust, read_bundle
from export.cli import export as cli
from roadshift import Failure, UserError


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """A run folder, as far as `export` sees it."""
    asked: list[tuple] = []

    def read(*args):
        asked.append(args)
        return tiny.saved(tiny.Centres())

    monkeypatch.setattr(cli, "read", read)
    return tmp_path / "run", asked


def test_a_run_becomes_a_bundle(run, tmp_path, capsys) -> None:
    folder, asked = run
    key, plain = Ed25519PrivateKey.generate(), pem.NoEncryption()
    (tmp_path / "key").write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, plain)
    )
    form = pem.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "pub").write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, form))
    out, data = tmp_path / "b", "toytown:camera#val"
    cli.export(folder, out=out, size="64x128", data=data, count=1, sign=tmp_path / "key")
    bundle = read_bundle(tmp_path / "b", Trust(verify_key=tmp_path / "pub"))
    assert asked == [(folder, "last")]
    assert (bundle.size, bundle.checks["precisions"]["fp32"]["frames"]) == (
        (64, 128),
        "toytown:camera#val",
    )
    shown = capsys.readouterr().out
    assert "64x128" in shown
    assert "+0.000" in shown
    assert f"bundle written: {tmp_path / 'b'}" in shown
    assert f"its digest, for --digest: {bundle.digest}" in shown
    assert "no evidence for: road" in shown


@pytest.mark.parametrize(
    ("precisions", "wanted"), [(("fp32", "int8"), "fp32"), (("fp32", "fp16", "int8"), "fp16")]
)
def test_triton_is_given_no_int8(run, tmp_path, monkeypatch, precisions, wanted) -> None:
    """Its ONNX Runtime computes the file as it lies there: slower than fp32, on CPU and GPU."""
    made = SimpleNamespace(precisions=precisions, checks={"no_evidence": []})
    given = []

    def write(bundle, folder, *, precision):
        given.append((bundle, folder, precision))
        raise Failure("the disk is full")

    monkeypatch.setattr(cli, "make_bundle", lambda *_, **__: made)
    monkeypatch.setattr(cli, "_tables", lambda *_: [])
    monkeypatch.setattr(cli, "write_repository", write)
    with pytest.raises(Failure, match="the disk is full"):
        cli.export(run[0], out=tmp_path / "b", triton=tmp_path / "models", frames="toytown:game")
    assert given == [(made, tmp_path / "models", wanted)]


@pytest.mark.parametrize(
    ("flags", "spec", "labelled"),
    [
        ({}, "toytown:camera", False),
        ({"frames": "toytown:game", "size": "dynamic"}, "toytown:game", False),
        ({"data": "toytown:camera#val"}, "toytown:camera#val", True),
    ],
)
def test_what_is_compared_on(run, tmp_path, monkeypatch, flags, spec, labelled) -> None:
    class StopHereError(Exception):
        """Enough was seen."""

    def make(saved, frames, out, *, size, lowering, say):
        assert (frames.spec, frames.labelled, frames.count) == (spec, labelled, 2)
        assert (size, lowering) == (None, None)
        raise StopHereError

    monkeypatch.setattr(cli, "make_bundle", make)
    with pytest.raises(StopHereError):
        cli.export(run[0], out=tmp_path / "b", count=2, which="best", **flags)
    assert run[1] == [(run[0], "best")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"size": "64"}, "--size '64' is not a size"),
        ({"frames": "toytown:game", "data": "toytown:game"}, "--frames and --data both say"),
        ({"count": 0}, "--count is 0"),
        ({"frames": "toytwon:game"}, "toytwon"),
    ],
)
def test_mistakes_on_the_command_line(run, tmp_path, flags, message) -> None:
    with pytest.raises(UserError, match=message):
        cli.export(run[0], out=tmp_path / "b", **flags)
    assert not (tmp_path / "b").exists()


def test_a_folder_that_is_no_run(tmp_path) -> None:
    with pytest.raises(UserError, match=r"run\.json"):
        cli.export(tmp_path, out=tmp_path / "b")
