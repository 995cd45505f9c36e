"""What a link to the page shows elsewhere: our title, sentence and picture, not Gradio's."""

from __future__ import annotations

import html
import re

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OTHERS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


class LinkPreview:
    """An ASGI app around Gradio's: the page's own head in place of the one that Gradio has."""

    def __init__(self, app: ASGIApp, title: str, sentence: str) -> None:
        self._app, self._title, self._sentence = app, title, sentence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                content = self._own_head(bytes(body), str(Request(scope).base_url))
                headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
                headers.append((b"content-length", str(len(content)).encode()))
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, keep)

    def _own_head(self, page: bytes, address: str) -> bytes:
        title, sentence = html.escape(self._title), html.escape(self._sentence)
        meta = (
            f'<title>{title}</title>\n<meta name="description" content="{sentence}">\n'
            f'<meta property="og:type" content="website">\n'
            f'<meta property="og:title" content="{title}">\n'
            f'<meta property="og:description" content="{sentence}">\n'
            f'<meta property="og:url" content="{html.escape(address)}">\n'
            f'<meta property="og:image" content="{html.escape(address)}roadshift/preview.jpg">\n'
            f'<meta name="twitter:card" content="summary_large_image">\n'
        )
        return _OTHERS.sub(b"", page).replace(b"</head>", meta.encode() + b"</head>", 1)
