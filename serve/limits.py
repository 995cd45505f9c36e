"""What one request may ask of the server, and the error for a request that asks for more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.bundle import Bundle
from roadshift import UserError

LEAST_PIXELS = 4 << 20
"""Taken from every bundle: two frames of 1024x2048."""
TIMES = 4
"""Of the pixels of the largest frame that a bundle knows: twice its height and its width."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that hold before anything is decoded; each is a number that an operator may change."""

    body_bytes: int = 64 << 20
    """The largest body, as it arrives and again after it is decompressed."""
    all_bodies_bytes: int = 256 << 20
    """The most bytes that the bodies of all requests under way hold together."""
    json_bytes: int = 4 << 20
    """The largest JSON part: the parser holds Python's lock, and nothing else answers meanwhile."""
    json_values: int = 4 << 20
    """The most numbers that an answer holds as JSON; binary tensors are not counted."""
    pixels: int | None = None
    """The most pixels of one request, all its images together, each counted at least as large as
    the network works. By default 4 times those of the largest frame that the bundle knows (its
    size, the size worked at, frames it was compared on), and at least 4 Mi."""
    waiting: int = 8
    """The most requests behind the one that the engine works on, and as many before decoding."""
    max_batch: int = 1
    """The most images of one size that the engine is given at once, of requests that wait."""
    batch_delay_ms: float = 0.0
    """How many milliseconds a request waits for others to be run with."""
    body_seconds: float = 60.0
    """How many seconds a client may take to send its body."""
    body_rate: int = 1024
    """The least bytes a second at which a body comes in, after its first five seconds."""
    header_seconds: float = 10.0
    """How many seconds a client may take to send a request's headers."""
    answer_seconds: float = 60.0
    """How many seconds a client may leave an answer unread."""
    connections: int = 512
    """The most open connections; a new one then takes the place of the one that idles longest."""
    address_connections: int = 128
    """The most of them from one address, likewise; and its most calls under way over gRPC."""
    streams: int = 16
    """The most streams (WebSockets) at a time; each holds up to three frames."""
    frame_bytes: int = 8 << 20
    """The largest frame of a stream."""
    stream_idle_seconds: float = 60.0
    """How many seconds a stream may send no frame."""
    monitor_every: int = 0
    """Of so many frames of a model one is self-checked, when nobody waits for the device; 0: none
    but those that are asked for. Of bundles with a reconstructor."""
    grace_seconds: int = 30
    """How many seconds requests under way may take after the signal to stop."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0.001 if isinstance(value, float) else 1
            if name in ("waiting", "batch_delay_ms", "monitor_every"):
                least = 0
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise UserError(f"--{option} is {value}: wanted at least {least}")

    def of(self, *bundles: Bundle) -> Limits:
        """These limits, with the bundles' own where none was given: the largest of theirs."""
        if self.pixels is not None:
            return self
        return replace(self, pixels=max(map(pixel_limit, bundles), default=LEAST_PIXELS))


def pixel_limit(bundle: Bundle) -> int:
    """The most pixels of an image, or of several together, where nobody says otherwise."""
    return max(LEAST_PIXELS, TIMES * bundle.largest_known)


class Refusal(UserError):  # noqa: N818 - what the server does, rightly
    """A request that is not answered: an HTTP status and one sentence that names no path."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


GONE = 499
"""The status of a request whose client has left: nobody reads it but the log and the counters."""
