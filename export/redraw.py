"""torch == graph for the reconstructor, on the network's own label maps, or no bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from export.frames import Pixels, Size
from export.reconstructor import INPUT, OUTPUT, Rebuilding
from export.runtime import Session
from roadshift import Failure

MAX_OFF_SHARE = 1e-3
"""Of the values, off by more than one level: rounding moves a value by one level at most."""
MAX_OFF = 8
"""In levels of 255, of the worst value of all."""
MIN_PSNR = 60.0
"""In decibels: one value in four is one level off."""
DEVICE_PSNR = 40.0
"""What a device must reach on the golden images: shorter mantissas are off by a level or two."""


@dataclass(frozen=True, kw_only=True)
class RebuiltCheck:
    """What came out at one size; of 255 levels. `psnr` is None where the two are equal."""

    size: Size
    maps: int
    off_share: float
    """The share (0..1) of the values that differ by more than one level."""
    off_most: int
    psnr: float | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is not the network, in words with numbers; empty when it is."""
        at = f"at {self.size[0]}x{self.size[1]} the reconstructor's images"
        wrong: list[str] = []
        if self.off_share > MAX_OFF_SHARE:
            wrong.append(
                f"{at} differ by more than one level in {self.off_share:.2%} of the values "
                f"(allowed {MAX_OFF_SHARE:.1%})"
            )
        if self.off_most > MAX_OFF:
            wrong.append(f"{at} differ by up to {self.off_most} levels (allowed {MAX_OFF})")
        if self.psnr is not None and self.psnr < MIN_PSNR:
            wrong.append(f"{at} agree to {self.psnr:.1f} dB (wanted {MIN_PSNR:g})")
        return tuple(wrong)


class Runner(Protocol):
    """Something that runs what was exported; `name` is for the report."""

    @property
    def name(self) -> str: ...

    def __call__(self, labels: Pixels) -> Pixels: ...


class OnnxRuntime:
    """The reconstructor's graph under ONNX Runtime on the CPU."""

    name = Session.name

    def __init__(self, graph: bytes) -> None:
        """`graph` is the file's content."""
        self._session = Session(graph)

    def __call__(self, labels: Pixels) -> Pixels:
        """Labels [n,h,w] -> RGB [n,h,w,3]; Failure where the graph cannot."""
        return self._session.run(INPUT, labels, [OUTPUT])[0].numpy()


@dataclass
class _Sums:
    """What is added up at one size."""

    maps: int = 0
    values: int = 0
    off: int = 0
    most: int = 0
    squares: float = 0.0


@dataclass
class Redrawing:
    """Draws label maps with network and graph and adds up how they differ; holds no map.

    To the maps that it is given it adds, at each size, one striped with all classes and 255."""

    module: Rebuilding
    runner: Runner
    sums: dict[Size, _Sums] = field(default_factory=dict)
    golden_psnr: float | None = None

    def __post_init__(self) -> None:
        if not all(p.isfinite().all() for p in self.module.reconstructor.parameters()):
            raise Failure(
                "the reconstructor has NaN or infinite weights: its training has diverged; train "
                "it again with a smaller learning rate"
            )

    def add(self, labels: Pixels) -> None:
        """A batch of label maps of one size, uint8 [n,h,w]; raises Failure like the runner."""
        size = labels.shape[1], labels.shape[2]
        if size not in self.sums:
            self.sums[size] = _Sums()
            self._compare(self.sums[size], striped(size, self.module.reconstructor.classes)[None])
        self._compare(self.sums[size], labels)

    def golden(self, maps: Sequence[Pixels]) -> list[Pixels]:
        """What torch draws of each golden frame's labels [h,w]; compared with the graph as well."""
        drawn = [self._drawn(labels[None])[0] for labels in maps]
        sums = _Sums()
        for labels, image in zip(maps, drawn, strict=True):
            _add(sums, image[None], self.runner(labels[None]))
        self.golden_psnr = _psnr(sums)
        return drawn

    @property
    def checks(self) -> tuple[RebuiltCheck, ...]:
        """The numbers of every size seen so far."""
        return tuple(
            RebuiltCheck(
                size=size,
                maps=sums.maps,
                off_share=sums.off / sums.values,
                off_most=sums.most,
                psnr=_psnr(sums),
            )
            for size, sums in self.sums.items()
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is refused; empty when it is not."""
        wrong = [reason for check in self.checks for reason in check.reasons]
        if self.golden_psnr is not None and self.golden_psnr < MIN_PSNR:
            wrong.append(f"the golden images agree to {self.golden_psnr:.1f} dB only")
        return tuple(wrong)

    def values(self) -> dict[str, Any]:
        """For bundle.json."""
        return {
            "min_psnr": DEVICE_PSNR,
            "passed": not self.reasons,
            "runtime": self.runner.name,
            "golden_psnr": self.golden_psnr,
            "sizes": [asdict(check) for check in self.checks],
        }

    def _compare(self, sums: _Sums, labels: Pixels) -> None:
        sums.maps += len(labels)
        _add(sums, self._drawn(labels), self.runner(labels))

    def _drawn(self, labels: Pixels) -> Pixels:
        with torch.inference_mode():
            return self.module(torch.from_numpy(labels)).numpy()


def striped(size: Size, classes: int) -> Pixels:
    """A label map of that size with every class and 255 in slanting stripes of four pixels."""
    y, x = np.indices(size)
    stripes = ((x + y) // 4 % (classes + 1)).astype(np.uint8)
    stripes[stripes == classes] = 255
    return stripes


def _add(sums: _Sums, wanted: Pixels, found: Pixels) -> None:
    off = np.abs(wanted.astype(np.int16) - found)
    sums.values += off.size
    sums.off += int((off > 1).sum())
    sums.most = max(sums.most, int(off.max()))
    sums.squares += float(np.square(off, dtype=np.float64).sum())


def _psnr(sums: _Sums) -> float | None:
    """Peak signal to noise ratio in decibels; None where nothing differs."""
    return 10 * math.log10(255**2 * sums.values / sums.squares) if sums.squares else None
