"""The deployed function of a translating method: G(F(x)), as one segmentor.

Label-driven reconstruction (Yang et al., ECCV 2020), section 3.2.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from adapt.networks.image_generator import Translator
from adapt.networks.segmentor import Segmented, Segmentor


class Translated(Segmentor):
    """The target's image in the source's colours, segmented by a network of the source's."""

    def __init__(self, translator: Translator, segmentor: Segmentor) -> None:
        super().__init__()
        self.translator = translator
        self.segmentor = segmentor
        # What the other networks say of their class, this one asks the network inside it.
        self.align_corners = segmentor.align_corners  # pyright: ignore[reportAttributeAccessIssue]
        self.recipe = segmentor.recipe  # pyright: ignore[reportAttributeAccessIssue]
        self.min_size = segmentor.min_size  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def backbone(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The segmentor's."""
        return self.segmentor.backbone

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads."""
        return self.segmentor(self.translator(x))
