"""Several segmentors of the same classes as one: the mean of their probability maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.segmentor import Segmented, Segmentor
from adapt.networks.upsampling import full_size


class Fused(Segmentor):
    """The logits are the logarithm of the mean probabilities: their softmax is that mean.

    Maps of another size are brought to the first network's, bilinearly, before the mean.
    """

    def __init__(self, segmentors: Sequence[Segmentor]) -> None:
        super().__init__()
        self.segmentors = nn.ModuleList(segmentors)
        first = segmentors[0]
        # What the other networks say of their class, this one asks the first of its own.
        self.align_corners = first.align_corners  # pyright: ignore[reportAttributeAccessIssue]
        self.recipe = first.recipe  # pyright: ignore[reportAttributeAccessIssue]
        heights, widths = zip(*(s.min_size for s in segmentors), strict=True)
        self.min_size = (max(heights), max(widths))  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def backbone(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The first segmentor's."""
        return self.each[0].backbone

    @property
    def each(self) -> list[Segmentor]:
        """The segmentors that it is made of."""
        return cast(list[Segmentor], list(self.segmentors))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads."""
        answers = [cast(Segmented, segmentor(x)) for segmentor in self.each]
        return Segmented(
            self._mean([a.logits for a in answers]), self._mean([a.aux for a in answers])
        )

    def _mean(self, logits: Sequence[Float[Tensor, "n c _ _"]]) -> Float[Tensor, "n c hs ws"]:
        size = (logits[0].shape[2], logits[0].shape[3])
        p = [
            full_size(z.softmax(1), size, self.align_corners) if z.shape[2:] != size
            else z.softmax(1)
            for z in logits
        ]  # fmt: skip
        return torch.stack(p).mean(0).clamp(min=1e-30).log()
