"""How far a graph may be from its network: float32 hardly at all, lower precisions by a budget."""

from __future__ import annotations

from export.bundle.reproduction import EXACT_AGREEMENT
from export.verification.comparison import MAX_LOGIT_ERROR, SizeCheck
from roadshift import hxw

MIN_AGREEMENT = EXACT_AGREEMENT
"""The share of pixels on which the float32 graph and the network must agree, ties and all."""
MAX_MIOU_CHANGE = 0.1
"""In points, of the mean: one near-tie in a class of few pixels moves that class by more."""


def exact_reasons(check: SizeCheck) -> tuple[str, ...]:
    """Why a float32 graph is not the network, in words with numbers; empty when it is."""
    at = at_size(check)
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


def at_size(check: SizeCheck) -> str:
    return f"at {hxw(check.size)}"
