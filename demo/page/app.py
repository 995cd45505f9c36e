"""The demo page: Gradio's tabs and theme around elements of our own (static/), which do the rest.

Blending, hovering, highlighting and comparing happen in the browser, from the label map and the
confidence map that came with the answer; the server is asked once a picture (api.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from demo.bundle_facts import bundle_facts
from demo.html_parts import text
from export.bundle import Bundle
from export.bundle.data_name import data_name


def build(bundle: Bundle, tabs: Sequence[str]) -> gr.Blocks:
    """The page on a bundle: a tab a name, filled by the script of that name in static/.

    It has no events of Gradio's, so no visitor's file enters its cache.
    """
    page = gr.Blocks(title=f"{bundle.name}: street scenes, pixel by pixel", analytics_enabled=False)
    with page:
        element(_title(bundle))
        element("<rs-input></rs-input>")
        with gr.Tabs():
            for name in tabs:
                with gr.Tab(name):
                    element(f"<rs-{name.lower()}></rs-{name.lower()}>")
            with gr.Tab("Report"):
                element(f'<div id="report">{bundle_facts(bundle)}</div>')
    return page


def element(html: str) -> gr.HTML:
    """A piece of page without Gradio's frame around it."""
    return gr.HTML(html, padding=False, container=False)


def _title(bundle: Bundle) -> str:
    name, sentence = text(bundle.name), text(about(bundle))
    return f'<header class="rs-title"><h1>{name}</h1><p>{sentence}</p></header>'


def about(bundle: Bundle) -> str:
    """What the page is, in two sentences; plain text, without a path of this machine."""
    sentence = f"Names the class of every pixel of a street picture: {len(bundle.classes)} classes."
    cities = bundle.provenance.get("source"), bundle.provenance.get("target")
    source, target = (data_name(str(city)) if city else "" for city in cities)
    if not source or not target:
        return sentence
    if bundle.provenance.get("method") == "distillation":
        return f"{sentence} It learnt what another network says of pictures of {target}."
    if source == target or bundle.provenance.get("method") == "source_only":
        return f"{sentence} It learnt from labelled pictures of {source}."
    return (
        f"{sentence} It learnt from labelled pictures of {source} and unlabelled ones of {target}."
    )
