"""Signed bundles: with the right key, the wrong one, none, and after a change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from export.bundle import Bundle, Golden, Trust, read_bundle, write_bundle
from export.bundle.manifest import sealed
from export.bundle.trust import SIGNATURE, signer
from roadshift import UserError


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    return pair(tmp_path, "key")


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    plain = pem.NoEncryption()
    private.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, plain))
    form = pem.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, form))
    return private, public


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Bundle:
    bundle = Bundle(
        folder=tmp_path / "street",
        name="street",
        classes=("road", "sky"),
        palette=((128, 64, 128), (70, 130, 180)),
        size=None,
        min_size=(33, 33),
        precisions=("fp32",),
        align_corners=False,
        route="exact",
        opset=18,
        provenance={},
        scores={},
        checks={"precisions": {"fp32": {"min_agreement": 0.999}}},
        files={},
    )
    golden = [Golden(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8))]
    written = write_bundle(bundle, {"segmentor.onnx": b"graph"}, golden)
    (written.folder / SIGNATURE).write_bytes(signer(keys[0])(written.digest))
    return written


def test_the_right_key(signed: Bundle, keys: tuple[Path, Path]) -> None:
    assert read_bundle(signed.folder, Trust(verify_key=keys[1])) == signed
    assert read_bundle(signed.folder) == signed


def test_another_key_and_none(signed: Bundle, tmp_path: Path) -> None:
    _, other = pair(tmp_path, "other")
    with pytest.raises(UserError, match=r"was not signed with the key that belongs to .*other"):
        read_bundle(signed.folder, Trust(verify_key=other))
    (signed.folder / SIGNATURE).write_text("no hexadecimal")
    with pytest.raises(UserError, match="is damaged"):
        read_bundle(signed.folder, Trust(verify_key=other))
    (signed.folder / SIGNATURE).unlink()
    with pytest.raises(UserError, match="is not signed"):
        read_bundle(signed.folder, Trust(verify_key=other))


def test_a_change_whose_hashes_are_put_right(signed: Bundle, keys: tuple[Path, Path]) -> None:
    path = signed.folder / "bundle.json"
    values = json.loads(path.read_text())
    del values["sha256"], values["format"]
    path.write_text(json.dumps(sealed(values | {"classes": ["sky", "road"]})))
    assert read_bundle(signed.folder).classes == ("sky", "road")
    with pytest.raises(UserError, match="or was changed afterwards"):
        read_bundle(signed.folder, Trust(verify_key=keys[1]))


def test_what_is_no_key(signed: Bundle, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="could not be read"):
        signer(tmp_path / "nowhere.pem")
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(UserError, match="is no key without a password in PEM"):
        signer(tmp_path / "text.pem")
    other = tmp_path / "p256.pem"
    form = (pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    other.write_bytes(generate_private_key(SECP256R1()).private_bytes(*form))
    with pytest.raises(UserError, match="is no Ed25519PrivateKey: make one by openssl genpkey"):
        signer(other)
    with pytest.raises(UserError, match="is no key without a password in PEM"):
        read_bundle(signed.folder, Trust(verify_key=keys[0]))


def test_a_key_of_openssl(signed: Bundle, tmp_path: Path) -> None:
    private, public = tmp_path / "o.pem", tmp_path / "o.pub.pem"
    make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    try:
        subprocess.run(make, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    out = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(out, check=True, capture_output=True)
    (signed.folder / SIGNATURE).write_bytes(signer(private)(signed.digest))
    assert read_bundle(signed.folder, Trust(verify_key=public)) == signed


def test_a_signed_bundle_is_replaced_by_one_without(signed: Bundle) -> None:
    again = write_bundle(signed, {"segmentor.onnx": b"other"}, signed.golden())
    assert not (again.folder / SIGNATURE).exists()


@pytest.mark.parametrize("digest", ["", "  "])
def test_an_empty_digest_is_a_mistake(digest: str) -> None:
    """As of a shell's variable that is not set: it would let every bundle in."""
    with pytest.raises(UserError, match="--digest is empty"):
        Trust(digest=digest)
