"""How the demo page looks."""

from __future__ import annotations

import gradio.themes

from demo.html_parts import CSS

PAGE_CSS = (
    CSS
    + """
.gradio-container { --rs-line: var(--border-color-primary);
  --rs-faint: var(--background-fill-secondary); max-width: 1240px !important; margin: 0 auto; }
.rs-title h1 { font-size: 26px; font-weight: 650; margin: 6px 0 2px; }
.rs-title p { margin: 0; opacity: 0.8; font-size: 15px; }
.rs-note { font-size: 14px; opacity: 0.8; }
.rs-scale { display: flex; align-items: center; gap: 10px; font-size: 14px; }
.rs-scale div { flex: 1; height: 12px; border-radius: 6px; }
.rs-head { font-size: 15px; font-weight: 600; padding: 0 !important; margin-bottom: -8px; }
.rs-picture .image-container, .rs-picture .image-frame, .rs-picture .image-container button {
  width: 100%; }
.rs-picture img { width: 100%; height: auto; max-height: 68vh; object-fit: contain; }
#examples .grid-wrap, #examples .grid-container { min-height: 0; height: auto; max-height: 280px; }
/* The mark would stay on an example after an upload. */
#examples .thumbnail-item.selected { box-shadow: none; border-color: var(--rs-line); }
#examples .thumbnail-item { aspect-ratio: 3 / 2; }
"""
)


def theme() -> gradio.themes.Base:
    """Plain, with the machine's own fonts: the page must look the same without a network."""
    return gradio.themes.Default(
        primary_hue="blue", neutral_hue="slate", radius_size="md",
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
