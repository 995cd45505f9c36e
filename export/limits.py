"""How far a graph may be from its network: float32 hardly at all, lower precisions by a budget."""

from __future__ import annotations

import math

from export.compare import SizeCheck
from export.frames import Size
from export.precision.search import Budget

MIN_AGREEMENT = 0.999
"""The share of pixels on which the float32 graph and the network must agree, ties and all."""
MAX_LOGIT_ERROR = 1e-3
"""Of the range of the logits: a hundred times what float32 rounding was seen to do."""
MAX_MIOU_CHANGE = 0.1
"""In points, of the mean: one near-tie in a class of few pixels moves that class by more."""


def exact_reasons(check: SizeCheck) -> tuple[str, ...]:
    """Why a float32 graph is not the network, in words with numbers; empty when it is."""
    at = _at(check)
    wrong: list[str] = []
    relative = check.logit_error_max / (check.logit_range or 1)
    if not relative <= MAX_LOGIT_ERROR:
        wrong.append(
            f"{at} logits differ by up to {check.logit_error_max:.3g}, {relative:.2%} of their "
            f"range (allowed {MAX_LOGIT_ERROR:.2%})"
        )
    if check.clear_agreement < 1:
        wrong.append(f"{at} {1 - check.clear_agreement:.3%} of the clear pixels have other labels")
    if check.agreement < MIN_AGREEMENT:
        wrong.append(f"{at} {check.agreement:.3%} of the labels agree (wanted {MIN_AGREEMENT:.1%})")
    if check.confidence_error > check.confidence_allowed:
        wrong.append(
            f"{at} confidence differs by up to {check.confidence_error} of 255 "
            f"(allowed {check.confidence_allowed})"
        )
    drop = check.miou_drop
    change = 100 - check.miou_between if drop is None else abs(drop)
    if change > MAX_MIOU_CHANGE:
        wrong.append(f"{at} mIoU changes by {change:.2f} points")
    return tuple(wrong)


def budget_reasons(check: SizeCheck, budget: Budget, native: Size) -> tuple[str, ...]:
    """Why a graph of lower precision has lost too much: accuracy, or without labels agreement.

    The budget is for frames like those that will come, of the `native` size (height, width), on
    which the search held it. At other sizes twice as much may be lost, and at those of less than a
    quarter of the pixels only NaN and infinite values count.
    """
    at = _at(check)
    if not math.isfinite(check.logit_error_max):
        return (f"{at} logits are NaN or infinite",)
    if 4 * math.prod(check.size) < math.prod(native):
        return ()
    if check.size != native:
        budget = Budget(**{name: min(100.0, 2 * most) for name, most in vars(budget).items()})
    drop = check.miou_drop
    if drop is None or check.class_drop is None:
        off = 100 * (1 - check.agreement)
        if off <= budget.max_disagreement:
            return ()
        return (f"{at} {off:.2f}% of the labels differ (allowed {budget.max_disagreement:g}%)",)
    wrong: list[str] = []
    if not drop <= budget.max_miou_drop:
        wrong.append(f"{at} mIoU falls by {drop:.2f} points (allowed {budget.max_miou_drop:g})")
    if not check.class_drop <= budget.max_class_drop:
        wrong.append(
            f"{at} IoU of {check.worst_class} falls by {check.class_drop:.2f} points "
            f"(allowed {budget.max_class_drop:g})"
        )
    return tuple(wrong)


def _at(check: SizeCheck) -> str:
    return f"at {check.size[0]}x{check.size[1]}"
