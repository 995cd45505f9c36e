"""Who gets in: by the server's names, with a key if one is set, from no page of another site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.http.listening_socket import LOOPBACK
from serve.models.api_keys import REFUSAL, ApiKeys

Before: TypeAlias = Callable[[ASGIApp, str], ASGIApp]
"""Puts something before an app that answers on an address."""
_OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")
"""What probes ask for, which have no key."""


class Guard(NamedTuple):
    """What stands before the routes: names beside the loopback's own, and keys, or None."""

    hosts: Sequence[str] = ()
    keys: ApiKeys | None = None

    def before(self, app: ASGIApp, address: str) -> ASGIApp:
        """The app, guarded as is right for a socket on that address."""
        local = ip_address(address.partition("%")[0]).is_loopback
        known = [*LOOPBACK, address, *self.hosts] if local or self.hosts else []
        if self.keys is not None:
            app = KeyCheck(app, self.keys)
        app = OriginCheck(app, known)
        return HostCheck(app, known) if known else app


OPEN = Guard()
"""No key, and no names but the loopback's own."""


class HostCheck:
    """An ASGI app around another, which gets requests to these `hosts` only.

    A name of another site that resolves to this machine would let that site's scripts in.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, [host.lower() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        name = host_of(Headers(scope=scope).get("host", ""))
        if name in self._hosts:
            await self._app(scope, receive, send)
            return
        known = ", ".join(self._hosts)
        error = f"Host is {name[:80]!r}; wanted one of {known}: see --allow-host"
        await JSONResponse({"error": error}, 400)(scope, receive, send)


class OriginCheck:
    """An ASGI app around another, which gets what a page of another site sends by GET alone.

    Browsers let any page post to any address and open a WebSocket to it, and say in Origin whose
    page it is. One from the address that is asked, or from one of `hosts`, at any port, is no
    other site's. Programs send no Origin.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, [host.lower() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope.get("method") in ("GET", "HEAD")
        if scope["type"] not in ("http", "websocket") or reads:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        site = host_of((origin or "").partition("://")[2])
        if origin is None or (site and site in (host_of(headers.get("host", "")), *self._hosts)):
            await self._app(scope, receive, send)
            return
        error = f"Origin is {origin[:80]!r}, another site: see --allow-host"
        await JSONResponse({"error": error}, 403)(scope, receive, send)


class KeyCheck:
    """An ASGI app around another, which gets requests with one of the keys, and probes."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] in ("http", "websocket") and scope["path"] not in _OPEN_PATHS
        if not asks or self._keys.opens(Headers(scope=scope).get("authorization", "")):
            await self._app(scope, receive, send)
        else:
            headers = {"WWW-Authenticate": "Bearer"}
            await JSONResponse({"error": REFUSAL}, 401, headers)(scope, receive, send)


def host_of(header: str) -> str:
    """The name in a Host header, in small letters, without its port and an IPv6 one's brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
