"""Whether a bundle is the one that was exported: by its digest, or by an Ed25519 signature of it.

The hashes within a bundle find damage; whoever changes it on purpose puts them right as well. The
digest covers the manifest and so every file. `bundle.sig` holds its signature, in hexadecimal. Keys
are PEM files as `openssl genpkey -algorithm ed25519` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadshift import UserError

SIGNATURE = "bundle.sig"
PURPOSE = b"roadshift bundle "
"""Signed with the digest, so that a signature made for something else says nothing here."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a bundle must prove before it is used; by default that it is whole."""

    digest: str | None = None
    """Take only the bundle of that digest, which export printed."""
    verify_key: Path | None = None
    """Take only a bundle that was signed (export --sign): the public key, a PEM file."""

    def __post_init__(self) -> None:
        if self.digest is not None and not self.digest.strip():
            raise UserError("--digest is empty: give the one that export printed, or leave it out")

    def check(self, folder: Path, digest: str) -> None:
        """Raises UserError unless the bundle in `folder`, whose digest this is, proves it."""
        if self.digest is not None and self.digest.lower() != digest:
            raise UserError(
                f"bundle {folder} has the digest {digest}, wanted {self.digest}: it is another "
                "bundle, or was changed; copy the one that was exported, or give its digest"
            )
        if self.verify_key is not None:
            _check_signature(folder, digest, self.verify_key)


ANY = Trust()
"""Every bundle that is whole."""


def signer(key: Path) -> Callable[[str], bytes]:
    """What makes the file bundle.sig of a digest, with the private key in a PEM file.

    Raises UserError for what is no Ed25519 key, ImportError where `cryptography` is missing.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - an extra
        Ed25519PrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    private = _read(key, lambda data: load_pem_private_key(data, None), Ed25519PrivateKey)
    return lambda digest: private.sign(_signed(digest)).hex().encode() + b"\n"


def _check_signature(folder: Path, digest: str, key: Path) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_public_key,
    )

    public = _read(key, load_pem_public_key, Ed25519PublicKey)
    try:
        signature = bytes.fromhex((folder / SIGNATURE).read_text())
    except FileNotFoundError:
        raise UserError(
            f"bundle {folder} is not signed (no {SIGNATURE}): export it with --sign KEY"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / SIGNATURE} is damaged ({error}): copy it again") from error
    try:
        public.verify(signature, _signed(digest))
    except InvalidSignature:
        raise UserError(
            f"bundle {folder} was not signed with the key that belongs to {key}, or was changed "
            "afterwards: copy the bundle that was exported, or give its exporter's public key"
        ) from None


def _signed(digest: str) -> bytes:
    return PURPOSE + digest.encode()


def _read(key: Path, load: Callable[[bytes], Any], kind: type[Any]) -> Any:
    try:
        found = load(key.read_bytes())
    except OSError as error:
        raise UserError(f"the key {key} could not be read ({error.strerror or error})") from error
    except (TypeError, ValueError) as error:  # encrypted, or no PEM
        raise UserError(f"{key} is no key without a password in PEM: {error}") from error
    if not isinstance(found, kind):
        raise UserError(
            f"{key} is no {kind.__name__}: make one by openssl genpkey -algorithm ed25519 "
            "(private) and openssl pkey -pubout (public)"
        )
    return found
