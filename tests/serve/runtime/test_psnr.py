"""One picture, one hand-computed number."""

import numpy as np
import pytest

from serve.runtime.psnr import psnr, psnr_of_error


def test_psnr():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 255
    assert psnr(a, a) == np.inf
    assert psnr(a, b) == psnr(b, a) == pytest.approx(10 * np.log10(12))


def test_of_an_error_that_was_added_up():
    assert psnr_of_error(0) == np.inf
    assert psnr_of_error(255**2 / 12) == pytest.approx(10 * np.log10(12))
