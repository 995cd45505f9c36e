"""The page for people: how to call this server."""

from __future__ import annotations

import html
from collections.abc import Sequence

from serve.runtime.graph import Graph


def page(graphs: Sequence[Graph]) -> str:
    """HTML: how to call this server, the segmentor first, and the classes with their colours."""
    model, *others = graphs
    classes, palette = model.bundle.classes, model.bundle.palette
    drawn = "".join(
        f"""
<p>{other.spec.about}:
<a href="/v2/models/{other.name}">/v2/models/{other.name}</a></p>"""
        for other in others
    )
    rows = "".join(
        f'<li><span style="background:rgb{tuple(colour)};padding:0 1em"></span> '
        f"{i} {html.escape(name)}</li>"
        for i, (name, colour) in enumerate(zip(classes, palette, strict=True))
    )
    return f"""<!doctype html><meta charset="utf-8"><title>{model.name}</title>
<h1>{model.name}</h1>
<p>A street-scene segmentor. Send it a JPEG or PNG image:</p>
<pre>curl -H Content-Type:image/jpeg --data-binary @street.jpg 'ADDRESS/segment?as=overlay'
     ?as=labels      PNG of class ids (the default)
     ?as=overlay     JPEG of the image under its class colours; &amp;format=png for a PNG
     ?as=confidence  PNG, 255 for certain
     ?as=json        each class, its colour and its share of the image</pre>
<p>Programs: Open Inference Protocol v2,
<a href="/v2/models/{model.name}">/v2/models/{model.name}</a>
(input: image, UINT8 [N,H,W,3], RGB).</p>{drawn}
<ol start="0" style="list-style:none">{rows}</ol>
"""
