"""The demo's tab on the reconstructor: the image redrawn from the labels, and the disagreement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr
from gradio.events import Dependency

from demo.html_parts import text
from demo.page.components import picture, scale
from demo.page.reconstruction import TOP, rebuild
from demo.page.segmentation import SegmentedImage
from export.bundle import Bundle
from roadshift import Failure
from serve.runtime.image_graphs import ImageGraph

NAME = "Reconstruction"
ROWS = (
    {"rebuilt-image": "Input", "rebuilt-classes": "Predicted classes"},
    {
        "rebuilt-drawing": "Redrawn from the classes alone",
        "rebuilt-difference": "Where input and drawing disagree",
    },
)
SENTENCE = (
    "The drawing is in the colours of the city with labels: before it is compared with the input, "
    "each of its colour channels gets the input's mean and deviation."
)


class ReconstructionTab:
    """Lays the tab out where it is made; draws only while the tab is open, for it takes a while."""

    def __init__(self, bundle: Bundle, reconstructor: ImageGraph) -> None:
        self._bundle, self._reconstructor = bundle, reconstructor
        self._pictures: list[gr.Image] = []
        with gr.Tab(NAME):
            self._opened = gr.State(False)  # beside the tabs it would be counted as one
            for row in ROWS:
                with gr.Row():
                    for name, head in row.items():
                        with gr.Column(min_width=240):
                            gr.HTML(head, elem_classes="rs-head")
                            self._pictures.append(picture(name))
            ends = "0", f"{TOP} of 255 grey levels or more"
            gr.HTML(scale(*ends), elem_id="rebuilt-scale")
            gr.HTML(SENTENCE, elem_classes="rs-note")

    def follow(self, shown: gr.State, tabs: gr.Tabs, events: Iterable[Dependency]) -> None:
        """Draws what `shown` holds when the tab is opened, and after each of `events`."""
        private: dict[str, Any] = {"api_visibility": "private"}
        # Every click counts: in the other modes one is lost that comes before the last is answered.
        chosen = tabs.select(self._choose, None, self._opened, trigger_mode="multiple", **private)
        for event in (chosen, *events):
            event.then(
                self._draw, [shown, self._opened], self._pictures,
                trigger_mode="always_last", concurrency_id="reconstructor", **private,
            )  # fmt: skip

    def _choose(self, event: gr.SelectData) -> bool:
        return event.value == NAME

    def _draw(self, shown: SegmentedImage | None, opened: bool) -> tuple[Any, ...]:
        if shown is None or not opened:
            return tuple([gr.skip()] * len(self._pictures))
        try:
            return tuple(rebuild(self._reconstructor, self._bundle, shown))
        except Failure as error:
            gr.Warning(text(error), title="Not redrawn", duration=20)
            return tuple([gr.skip()] * len(self._pictures))
