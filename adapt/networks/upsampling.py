"""Low-resolution logits to full size: densely, or straight to labels by an exact shortcut.

Between four neighbouring logits every bilinear value is a convex combination of the four, so where
one class is the largest at all four corners it is the largest in the whole cell, and only cells on
class borders are interpolated.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate


def full_size(
    logits: Float[Tensor, "n c hs ws"], size: tuple[int, int], align_corners: bool
) -> Float[Tensor, "n c h w"]:
    """The dense reference: bilinear values at `size` = (height, width)."""
    return interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


def labels_at(
    logits: Float[Tensor, "n c hs ws"], size: tuple[int, int], align_corners: bool
) -> UInt8[Tensor, "n h w"]:
    """The labels of `full_size(logits, ...).argmax(1)`, interpolating on class borders only.

    Equal to the dense route but for pixels whose two best values differ by float rounding (1e-6 of
    their size). Ties go to the lower class.
    """
    n, _, hs, ws = logits.shape
    y0, y1, fy = _neighbours(hs, size[0], align_corners, logits.device)
    x0, x1, fx = _neighbours(ws, size[1], align_corners, logits.device)
    top = logits.argmax(1)
    labels = top[:, y0[:, None], x0].to(torch.uint8)
    mixed = _mixed_cells(top)[:, y0[:, None], x0]
    i, y, x = torch.nonzero(mixed, as_tuple=True)
    z = logits.movedim(1, -1).reshape(n * hs * ws, -1)
    above, below = (i * hs + y0[y]) * ws, (i * hs + y1[y]) * ws
    left, right, v, u = x0[x], x1[x], fy[y, None], fx[x, None]
    upper = torch.lerp(z[above + left], z[above + right], u)
    lower = torch.lerp(z[below + left], z[below + right], u)
    labels[i, y, x] = torch.lerp(upper, lower, v).argmax(1).to(torch.uint8)
    return labels


def _neighbours(
    small: int, large: int, align_corners: bool, device: torch.device
) -> tuple[Int64[Tensor, " large"], Int64[Tensor, " large"], Float[Tensor, " large"]]:
    """For each output position the two input positions it lies between, and how far it is."""
    at = torch.arange(large, device=device, dtype=torch.float32)
    if align_corners:
        at = at * ((small - 1) / max(large - 1, 1))
    else:
        at = ((at + 0.5) * (small / large) - 0.5).clamp(min=0)
    first = at.floor().long().clamp(max=small - 1)
    return first, (first + 1).clamp(max=small - 1), at - first


def _mixed_cells(top: Int64[Tensor, "n hs ws"]) -> Bool[Tensor, "n hs ws"]:
    """Whether the cell below and right of each position has corners of different classes."""
    right = torch.cat([top[:, :, 1:], top[:, :, -1:]], 2)
    below = torch.cat([top[:, 1:], top[:, -1:]], 1)
    diagonal = torch.cat([right[:, 1:], right[:, -1:]], 1)
    return (top != right) | (top != below) | (top != diagonal)
