"""The demo page: a street image in, its classes as an overlay, their shares, the confidence.

Of a bundle with a reconstructor also the image redrawn from the labels (reconstruction_tab.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr
from gradio.blocks import Block

from demo.bundle_facts import bundle_facts
from demo.html_parts import legend, text
from demo.page.components import picture, scale
from demo.page.reconstruction_tab import ReconstructionTab
from demo.page.segmentation import Pixels, SegmentedImage, heat, painted, segment
from export.bundle import Bundle, Golden
from roadshift import Failure, UserError
from serve.media.codec import decode
from serve.media.paint import class_shares
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph

OPACITY = 60
# Each open page keeps its last image on the server, for the opacity slider.
MAX_PAGES = 32
MOST_PIXELS = 16 << 20  # a photo of a phone
Changes = dict[Block, Any]
"""New values of components; the others stay as they are."""


class _Parts(NamedTuple):
    """The components of the page that events read and write; `shown` holds the last image."""

    shown: gr.State
    upload: gr.File
    examples: gr.Gallery
    shares: gr.HTML
    overlay: gr.Image
    opacity: gr.Slider
    confidence: gr.Image
    note: gr.HTML
    tabs: gr.Tabs
    rebuilding: ReconstructionTab | None

    @property
    def of_an_image(self) -> list[Block]:
        """What another image changes."""
        return [self.shown, self.overlay, self.confidence, self.shares, self.note, self.upload]


def build(bundle: Bundle, engine: Engine, reconstructor: ImageGraph | None = None) -> gr.Blocks:
    """The page on a bundle; its golden frames of one size are the examples, the first one shown.

    With a reconstructor there is a tab for what it draws.
    """
    golden = bundle.golden()
    golden = [one for one in golden if one.image.shape == golden[0].image.shape]
    # Uploads and painted pictures are deleted an hour after they were made.
    page = gr.Blocks(
        title=f"roadshift: {bundle.name}", analytics_enabled=False, delete_cache=(600, 3600)
    )
    with page:
        parts = _lay_out(bundle, golden, reconstructor)
        show, outputs = _Shower(bundle, engine, golden, parts), parts.of_an_image
        # One image at a time goes through the engine, whichever button it came from.
        engine_event: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "engine"}
        first = functools.partial(show.golden, 0)
        events = [
            parts.upload.upload(
                show.upload, [parts.upload, parts.opacity], outputs, **engine_event
            ),
            parts.examples.select(show.example, parts.opacity, outputs, **engine_event),
            page.load(first, parts.opacity, outputs, **engine_event),
        ]
        if parts.rebuilding is not None:
            parts.rebuilding.follow(parts.shown, parts.tabs, events)
        parts.opacity.change(
            show.repaint, [parts.shown, parts.opacity], parts.overlay,
            trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    page.queue(max_size=MAX_PAGES)
    page.state_session_capacity = MAX_PAGES
    return page


def _lay_out(bundle: Bundle, golden: list[Golden], reconstructor: ImageGraph | None) -> _Parts:
    """Inputs and shares on the left, pictures on the right, facts below."""
    shown = gr.State(None)
    gr.HTML(_title(bundle), elem_classes="rs-title")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            gr.HTML("Your street image, PNG or JPEG", elem_classes="rs-head")
            upload = gr.File(
                type="binary", file_types=[".png", ".jpg", ".jpeg"],
                show_label=False, height=130, elem_id="upload",
            )  # fmt: skip
            gr.HTML("Or one of these", elem_classes="rs-head")
            examples = gr.Gallery(
                [frame.image for frame in golden], format="png", columns=3, object_fit="cover",
                height="auto", allow_preview=False, interactive=False, buttons=[],
                show_label=False, elem_id="examples",
            )  # fmt: skip
            gr.HTML("Shares of the classes", elem_classes="rs-head")
            shares = gr.HTML(elem_id="legend")
        with gr.Column(scale=5, min_width=480):
            with gr.Tabs() as tabs:
                with gr.Tab("Overlay"):
                    overlay = picture("overlay")
                    label = "Opacity of the class colours (percent)"
                    opacity = gr.Slider(0, 100, OPACITY, step=1, label=label, elem_id="opacity")
                with gr.Tab("Confidence"):
                    confidence = picture("confidence")
                    gr.HTML(scale("0 % (a guess)", "100 % (sure)"))
                rebuilding = ReconstructionTab(bundle, reconstructor) if reconstructor else None
            note = gr.HTML(elem_classes="rs-note", elem_id="note")
    with gr.Accordion("About this segmentor", open=False, elem_id="facts"):
        gr.HTML(bundle_facts(bundle))
    return _Parts(
        shown, upload, examples, shares, overlay, opacity, confidence, note, tabs, rebuilding
    )


class _Shower:
    """What the page's events do: each answers with the new value of every component it changes."""

    def __init__(self, bundle: Bundle, engine: Engine, golden: list[Golden], parts: _Parts) -> None:
        self._bundle, self._engine, self._golden, self._parts = bundle, engine, golden, parts

    def upload(self, data: bytes, opacity: float) -> Changes:
        return self._explained(lambda: decode(data, MOST_PIXELS), opacity)

    def example(self, opacity: float, event: gr.SelectData) -> Changes:
        return self.golden(int(event.index), opacity)

    def golden(self, index: int, opacity: float) -> Changes:
        return self._explained(lambda: self._golden[index].image, opacity)

    def repaint(self, shown: SegmentedImage | None, opacity: float) -> Pixels | None:
        return None if shown is None else painted(shown, self._bundle, opacity / 100)

    def _explained(self, image: Callable[[], Pixels], opacity: float) -> Changes:
        """Our own errors' sentences reach the person at the browser; the page stays as it was."""
        try:
            return self._all(segment(self._engine, self._bundle, image()), opacity)
        except (UserError, Failure) as error:
            gr.Warning(text(error), title="Not segmented", duration=20)
            return {self._parts.upload: None}

    def _all(self, shown: SegmentedImage, opacity: float) -> Changes:
        shares = class_shares(shown.labels, self._bundle.classes)
        overlay = painted(shown, self._bundle, opacity / 100)
        colours = legend(shares, self._bundle.palette)
        parts = self._parts
        return {
            parts.shown: shown,
            parts.overlay: overlay,
            parts.confidence: heat(shown),
            parts.shares: colours,
            parts.note: text(shown.note),
            parts.upload: None,  # empty, for the next file
        }


def _title(bundle: Bundle) -> str:
    cities = bundle.provenance.get("source"), bundle.provenance.get("target")
    learnt = ""
    if all(cities):
        source, target = (f"<code>{text(city)}</code>" for city in cities)
        learnt = f" It learnt from labelled images of {source} and unlabelled ones of {target}."
    return (
        f"<h1>{text(bundle.name)}</h1><p>Names the class of every pixel of a street image: "
        f"{len(bundle.classes)} classes.{learnt}</p>"
    )
