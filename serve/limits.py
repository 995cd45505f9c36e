"""What one request may ask of the server, and the error for a request that asks for more."""

from __future__ import annotations

from dataclasses import dataclass

from roadshift import UserError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that hold before anything is decoded; each is a number that an operator may change."""

    body_bytes: int = 64 << 20
    """The largest body, as it arrives and again after it is decompressed."""
    json_bytes: int = 4 << 20
    """The largest JSON part: the parser holds Python's lock, and nothing else answers meanwhile."""
    json_values: int = 4 << 20
    """The most numbers that an answer holds as JSON; binary tensors are not counted."""
    pixels: int = 16 << 20
    """The most pixels of one request, all its images together."""
    waiting: int = 8
    """The most requests behind the one that the engine works on."""
    body_seconds: float = 60.0
    """How many seconds a client may take to send its body."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "waiting" else 1
            if value < least:
                option = name.replace("_", "-")
                raise UserError(f"--{option} is {value}: wanted at least {least}")


class Refusal(UserError):  # noqa: N818 - what the server does, rightly
    """A request that is not answered: an HTTP status and one sentence that names no path."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
