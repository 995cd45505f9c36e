"""The options of `roadshift export` about precisions beside fp32, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapt.checkpoint import RunInfo
from export.bundle.graphs import PRECISIONS
from export.frames import calibration_frames
from export.precision.budget import Budget
from export.precision.calibration.ranges import CalibrationMethod
from export.precision.lower import Lowering
from roadshift import UserError, unknown


@dataclass(frozen=True, kw_only=True)
class Lower:
    """Precisions beside fp32, and what they may cost."""

    precision: str = "fp32"
    """fp32, and with commas fp16 and int8 beside it"""
    calibration: str | None = None
    """unlabelled images that fp16 and int8 are calibrated on; the run's target by default"""
    calibration_count: int = 32
    """how many of them, evenly spread"""
    calibrate: CalibrationMethod = "entropy"
    """how int8's ranges are found; they are kept in the run's folder for the next time"""
    max_miou_drop: float = 0.5
    """points that mIoU may fall (with --data)"""
    max_class_drop: float = 2.0
    """points that the IoU of one class may fall (with --data)"""
    max_disagreement: float = 2.0
    """percent of the pixels that may get another label (without --data)"""
    max_class_change: float = 30.0
    """points that a class's IoU between fp32 and the lower precision may be below 100 (without
    --data)"""
    search: bool = False
    """see what each group of layers costs also where plain int8 holds the budget"""

    def precisions(self) -> tuple[str, ...]:
        """Those beside fp32, in their order; UserError for one that is not known."""
        names = [name.strip() for name in self.precision.split(",")]
        for name in names:
            if name not in PRECISIONS:
                raise unknown("precision", name, PRECISIONS)
        return tuple(p for p in PRECISIONS[1:] if p in names)

    @property
    def budget(self) -> Budget:
        """What may be lost."""
        return Budget(
            max_miou_drop=self.max_miou_drop,
            max_class_drop=self.max_class_drop,
            max_disagreement=self.max_disagreement,
            max_class_change=self.max_class_change,
        )

    def lowering(self, run: Path, info: RunInfo, compared: int) -> Lowering:
        """All that making them needs.

        `compared` frames of the run's target, evenly spread, are what the graph is compared on:
        they are not calibrated on where there are others. Raises UserError for a calibration set
        that is empty or of other classes.
        """
        if self.calibration_count < 1:
            raise UserError(
                f"--calibration-count is {self.calibration_count}; the ranges of one frame at "
                "least are needed"
            )
        spec = self.calibration or info.target
        frames = calibration_frames(spec, info.classes, info.class_map)
        if spec == info.target and compared:
            frames = frames.without(compared)
        return Lowering(
            precisions=self.precisions(),
            calibration=frames.spread(self.calibration_count),
            method=self.calibrate,
            cache=run / f"calibration.{self.calibrate}.json",
            budget=self.budget,
            always=self.search,
        )
