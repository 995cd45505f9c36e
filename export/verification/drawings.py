"""torch == graph for a network that draws: on what it will be given, or no bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from export.frames import Pixels, Size
from export.graph.image_graph import ImageModule
from export.verification.cpu_session import CpuSession
from roadshift import Failure, hxw
from serve.runtime.psnr import psnr_of_error

MAX_OFF_SHARE = 1e-3
"""Of the values, off by more than one level: rounding moves a value by one level at most."""
MAX_OFF = 8
"""In levels of 255, of the worst value of all."""
MIN_PSNR = 60.0
"""In decibels: one value in four is one level off."""
DEVICE_PSNR = 40.0
"""What a device must reach on the golden images: shorter mantissas are off by a level or two."""


@dataclass(frozen=True, kw_only=True)
class DrawnCheck:
    """What came out at one size; of 255 levels. `psnr` is None where the two are equal."""

    name: str
    size: Size
    pictures: int
    off_share: float
    """The share (0..1) of the values that differ by more than one level."""
    off_most: int
    psnr: float | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is not the network, in words with numbers; empty when it is."""
        at = f"at {hxw(self.size)} the {self.name}'s images"
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


class DrawingRunner(Protocol):
    """Something that runs what was exported; `name` is for the report."""

    @property
    def name(self) -> str: ...

    def __call__(self, given: Pixels) -> Pixels: ...


class DrawingSession:
    """The graph of a drawing under ONNX Runtime on the CPU."""

    name = CpuSession.name

    def __init__(self, graph: bytes, drawing: ImageModule) -> None:
        """`graph` is the file's content."""
        self._session = CpuSession(graph)
        self._given, self._answer = drawing.spec.input, drawing.spec.output

    def __call__(self, given: Pixels) -> Pixels:
        """[n,h,w,...] -> RGB [n,h,w,3]; Failure where the graph cannot."""
        return self._session.run(self._given, given, [self._answer])[0].numpy()


@dataclass
class _Sums:
    """What is added up at one size."""

    pictures: int = 0
    values: int = 0
    off: int = 0
    most: int = 0
    squares: float = 0.0

    @property
    def psnr(self) -> float | None:
        """In decibels; None where nothing differs."""
        return psnr_of_error(self.squares / self.values) if self.squares else None


@dataclass
class Redrawing:
    """Draws with network and graph and adds up how they differ; holds no picture."""

    drawing: ImageModule
    runner: DrawingRunner
    sums: dict[Size, _Sums] = field(default_factory=dict)
    golden_psnr: float | None = None

    def __post_init__(self) -> None:
        if not all(p.isfinite().all() for p in self.drawing.module.parameters()):
            raise Failure(
                f"the {self.drawing.spec.kind} has NaN or infinite weights: its training has "
                "diverged; train it again with a smaller learning rate"
            )

    def add(self, given: Pixels) -> None:
        """A batch of one size, uint8 [n,h,w,...]; raises Failure like the runner."""
        size = given.shape[1], given.shape[2]
        if size not in self.sums:
            self.sums[size] = _Sums()
            if self.drawing.more is not None:
                self._compare(self.sums[size], self.drawing.more(size)[None])
        self._compare(self.sums[size], given)

    def golden(self, given: Sequence[Pixels]) -> list[Pixels]:
        """What torch draws of each of them [h,w,...]; compared with the graph as well."""
        drawn = [self.drawing(one[None])[0] for one in given]
        sums = _Sums()
        for one, image in zip(given, drawn, strict=True):
            _add(sums, image[None], self.runner(one[None]))
        self.golden_psnr = sums.psnr
        return drawn

    @property
    def checks(self) -> tuple[DrawnCheck, ...]:
        """The numbers of every size seen so far."""
        return tuple(
            DrawnCheck(
                name=self.drawing.spec.kind,
                size=size,
                pictures=sums.pictures,
                off_share=sums.off / sums.values,
                off_most=sums.most,
                psnr=sums.psnr,
            )
            for size, sums in self.sums.items()
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is refused; empty when it is not."""
        wrong = [reason for check in self.checks for reason in check.reasons]
        if self.golden_psnr is not None and self.golden_psnr < MIN_PSNR:
            name = self.drawing.spec.kind
            wrong.append(f"the {name}'s golden images agree to {self.golden_psnr:.1f} dB only")
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

    def _compare(self, sums: _Sums, given: Pixels) -> None:
        sums.pictures += len(given)
        _add(sums, self.drawing(given), self.runner(given))


def _add(sums: _Sums, wanted: Pixels, found: Pixels) -> None:
    off = np.abs(wanted.astype(np.int16) - found)
    sums.values += off.size
    sums.off += int((off > 1).sum())
    sums.most = max(sums.most, int(off.max()))
    sums.squares += float(np.square(off, dtype=np.float64).sum())
