"""What a lower precision may cost, and whether one keeps to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from export.frames import Size
from export.verification.comparison import SizeCheck
from export.verification.tolerances import at_size
from roadshift import UserError


def budget_reasons(check: SizeCheck, budget: Budget, native: Size) -> tuple[str, ...]:
    """Why a graph of lower precision has lost too much: accuracy, or without labels agreement.

    The budget is for frames like those that will come, of the `native` size (height, width), on
    which the search held it. At other sizes twice as much may be lost, and at those of less than a
    quarter of the pixels only NaN and infinite values count.
    """
    at = at_size(check)
    if not math.isfinite(check.logit_error_max):
        return (f"{at} logits are NaN or infinite",)
    if 4 * math.prod(check.size) < math.prod(native):
        return ()
    if check.size != native:
        budget = Budget(**{name: min(100.0, 2 * most) for name, most in vars(budget).items()})
    drop, wrong = check.miou_drop, list[str]()
    if drop is None or check.class_drop is None:
        off = 100 * (1 - check.agreement)
        if not off <= budget.max_disagreement:
            wrong.append(
                f"{at} {off:.2f}% of the labels differ (allowed {budget.max_disagreement:g}%)"
            )
        if not check.class_change <= budget.max_class_change:
            wrong.append(
                f"{at} IoU of {check.changed_class} between both is {100 - check.class_change:.2f} "
                f"(wanted {100 - budget.max_class_change:g})"
            )
        return tuple(wrong)
    if not drop <= budget.max_miou_drop:
        wrong.append(f"{at} mIoU falls by {drop:.2f} points (allowed {budget.max_miou_drop:g})")
    if not check.class_drop <= budget.max_class_drop:
        wrong.append(
            f"{at} IoU of {check.worst_class} falls by {check.class_drop:.2f} points "
            f"(allowed {budget.max_class_drop:g})"
        )
    return tuple(wrong)


class Measured(NamedTuple):
    """What a graph loses against float32, and its speed.

    `disagreement` is the share (0..1) of pixels whose label is another, `class_change` 100 less the
    IoU between both of the class where it is lowest; `miou_drop` and `class_drop`, that of the
    worst class, are in points and None without labels; `milliseconds` are the network's.
    """

    disagreement: float
    class_change: float
    miou_drop: float | None
    class_drop: float | None
    milliseconds: float

    def or_worse(self, other: Measured) -> Measured:
        """The worse of two forms of a graph, with this one's time."""
        return Measured(
            max(self.disagreement, other.disagreement),
            max(self.class_change, other.class_change),
            _larger(self.miou_drop, other.miou_drop),
            _larger(self.class_drop, other.class_drop),
            self.milliseconds,
        )

    def __str__(self) -> str:
        text = f"{self.disagreement:.2%} of the labels differ"
        if self.miou_drop is not None:
            text += f", mIoU falls by {self.miou_drop:.2f} points"
        else:
            text += f", IoU with fp32 of the worst class {100 - self.class_change:.1f}"
        if self.class_drop is not None:
            text += f", that of the worst class by {self.class_drop:.2f}"
        return f"{text}, {self.milliseconds:.1f} ms"


def _larger(one: float | None, other: float | None) -> float | None:
    """None where one is not known."""
    return None if one is None or other is None else max(one, other)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much may be lost: points of mIoU and of one class's IoU where there are labels, and where
    there are none the percentage of pixels whose label changes, and how many points a class's IoU
    between both networks may be below 100.

    Raises UserError for what is no number from 0 to 100.
    """

    max_miou_drop: float = 0.5
    max_class_drop: float = 2.0
    max_disagreement: float = 2.0
    max_class_change: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 100:
                option = "--" + name.replace("_", "-")
                raise UserError(f"{option} is {value:g}: give points or a percentage, 0 to 100")

    def holds(self, measured: Measured) -> bool:
        """Whether no more than that was lost; NaN is more."""
        if measured.miou_drop is None:
            return (
                100 * measured.disagreement <= self.max_disagreement
                and measured.class_change <= self.max_class_change
            )
        worst = measured.class_drop
        return measured.miou_drop <= self.max_miou_drop and (
            worst is None or worst <= self.max_class_drop
        )

    def __str__(self) -> str:
        return (
            f"at most {self.max_miou_drop:g} points of mIoU and {self.max_class_drop:g} of a class "
            f"with labels, {self.max_disagreement:g}% of the pixels and {self.max_class_change:g} "
            "points of a class's IoU with fp32 without"
        )
