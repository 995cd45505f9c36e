"""How much of a frame's structure is not in the picture that was drawn of its labels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELL_ROWS = 16
"""Rows of cells, whatever the frame's size; as many columns as make them square."""
MOST_COLUMNS = 64
_CELL = 8
"""Pixels a cell's side has when the two are compared: what a blurry drawing can still show."""
_SIGMA = 2.0
"""Pixels: of the Gaussian window."""
_CONTRAST = 50.0
"""Grey levels: the standard deviation to which both are brought. C2 then weighs the same in fog."""
_LEAST = 2.0
"""Below it there is only noise to be enlarged."""
_C2 = (0.03 * 255) ** 2


def small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGB image [h,w,3] at the size at which it is compared: [128,8*columns,3]."""
    h, w = image.shape[:2]
    columns = min(max(1, round(CELL_ROWS * w / h)), MOST_COLUMNS)
    size = (columns * _CELL, CELL_ROWS * _CELL)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def unexplained(image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean of 1 - cs in each cell, float32 [16,columns]: 0 (the same) to 2 (the opposite).

    cs is the product of contrast and structure term of SSIM (Wang et al., "Image quality
    assessment", 2004, with its C2) on the grey levels of two RGB images [h,w,3]. Both are
    brought to one lightness and contrast first, so that the drawing may be in another city's
    colours, and the frame be dark.
    """
    seen = small(image)
    columns = seen.shape[1] // _CELL
    drawn = cv2.resize(drawn, seen.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    x, y = (cv2.cvtColor(z, cv2.COLOR_RGB2GRAY).astype(np.float64) for z in (seen, drawn))
    x, y = (_CONTRAST * (z - z.mean()) / max(float(z.std()), _LEAST) for z in (x, y))
    mean_x, mean_y = _blurred(x), _blurred(y)
    covariance = _blurred(x * y) - mean_x * mean_y
    variances = _blurred(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    cs = (2 * covariance + _C2) / (np.maximum(variances, 0) + _C2)
    cells = (1 - cs).reshape(CELL_ROWS, _CELL, columns, _CELL).mean((1, 3))
    return cells.clip(0, 2).astype(np.float32)


def _blurred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.GaussianBlur(x, (0, 0), _SIGMA).astype(np.float64)
