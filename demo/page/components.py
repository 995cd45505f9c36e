"""Parts that several tabs of the demo page have."""

from __future__ import annotations

import gradio as gr

from demo.html_parts import hexadecimal
from demo.page.segmentation import heat_scale


def picture(name: str) -> gr.Image:
    """A picture that the page shows; `name` is its id."""
    # PNG: the default, WebP, is lossy and would blur the class colours.
    return gr.Image(format="png", interactive=False, show_label=False, elem_id=name,
                    elem_classes="rs-picture", buttons=["download", "fullscreen"])  # fmt: skip


def scale(low: str, high: str) -> str:
    """HTML: the colours of a heat map from `low` to `high`."""
    colours = ", ".join(hexadecimal(colour) for colour in heat_scale())
    bar = f'<div style="background:linear-gradient(to right, {colours})"></div>'
    return f'<div class="rs-scale">{low} {bar} {high}</div>'
