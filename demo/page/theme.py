"""How the demo page looks."""

from __future__ import annotations

from pathlib import Path

import gradio.themes

from demo.html_parts import CSS


def page_css() -> str:
    """The style of the HTML pieces and of the page around them."""
    return CSS + (Path(__file__).parent / "static" / "page.css").read_text()


def theme() -> gradio.themes.Base:
    """Plain, with the machine's own fonts: the page must look the same without a network."""
    return gradio.themes.Default(
        primary_hue="blue", neutral_hue="slate", radius_size="md",
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
