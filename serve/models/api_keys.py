"""The keys that a server asks for."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from roadshift import UserError

LEAST_LETTERS = 16
REFUSAL = "a key is wanted: send the header 'Authorization: Bearer KEY'"


class ApiKeys:
    """Any of these keys opens; how long a wrong one takes does not depend on what is wrong."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def opens(self, authorization: str) -> bool:
        """Whether an Authorization header (RFC 6750: `Bearer KEY`) bears one of the keys."""
        scheme, _, key = authorization.partition(" ")
        given = sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = [hmac.compare_digest(given, known) for known in self._digests]
        return scheme.lower() == "bearer" and any(found)


def read_keys(path: Path) -> ApiKeys:
    """What opens to the keys in a file; UserError as `keys_in`."""
    return ApiKeys(keys_in(path))


def key_to_send(path: Path, option: str = "--api-key-file") -> str:
    """The first key in a file like a server's, for a client's header; UserError as `keys_in`, and
    for one that is not ASCII. `option` is what the file was named with."""
    key = keys_in(path, option)[0]
    if not key.isascii():
        raise UserError(f"{option} {path}: wanted the server's key, of ASCII letters")
    return key


def keys_in(path: Path, option: str = "--api-key-file") -> list[str]:
    """The keys in a file, one a line; UserError when there is none, or one is too short."""
    try:
        keys = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path}: cannot be read ({error})") from error
    if not keys or min(map(len, keys)) < LEAST_LETTERS:
        raise UserError(
            f"{option} {path}: wanted keys of {LEAST_LETTERS} letters or more, one a line: "
            "openssl rand -hex 32 makes one"
        )
    return keys
