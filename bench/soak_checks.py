"""What bench/soak.py checks: memory, answers, and the server's counts with the clients'."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import httpx
from prometheus_client.parser import text_string_to_metric_families
from soak_clients import Target

Figures: TypeAlias = dict[tuple[str, ...], float]
Memory: TypeAlias = Sequence[tuple[float, float]]
FLAT = 0.05
SUCCESS, FRAMES = "nv_inference_request_success", "roadshift_stream_frames_total"
REQUESTS = "roadshift_http_requests_total"


class Check(NamedTuple):
    """One of them, whether it holds, and the figures."""

    name: str
    holds: bool
    said: str


async def figures(target: Target) -> Figures:
    """All samples of /metrics, by name and the labels' values."""
    async with httpx.AsyncClient(base_url=target.address, timeout=60) as client:
        text = (await client.get("/metrics")).text
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def checks(target: Target, before: Figures, after: Figures, memory: Memory) -> list[Check]:
    """All but that it did not crash; `before` and `after` are /metrics around the load."""
    gained = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return [_overloaded(target), _flat(memory), _answered(target), *_counts(target, gained)]


def _overloaded(target: Target) -> Check:
    """Or all that follows says little."""
    counts = target.counts
    good = [counts.total(each, "good") for each in ("http", "grpc")]
    refused = [counts.total(each, "good", "refused") for each in ("http", "grpc")]
    sent = counts.total("stream", "frames", "sent")
    late = sent - counts.total("stream", "frames", "answered") - sent // 10
    said = f"{sum(refused)} of {sum(good)} good requests refused, about {late} of {sent} frames"
    return Check("more came in than it could answer", sum(refused) > 0, said)


def _flat(memory: Memory) -> Check:
    """The last quarter's median is no larger than the second's, the first being the warm-up."""
    end = memory[-1][0]
    early, late = (
        statistics.median(mb for s, mb in memory if low * end <= s <= (low + 0.25) * end)
        for low in (0.25, 0.75)
    )
    said = f"{early:.0f} MB in the second quarter of the time, {late:.0f} MB in the last"
    return Check("memory grows by 5 % at most", late - early <= FLAT * early, said)


def _answered(target: Target) -> Check:
    counts = target.counts
    good = counts.total("http", "good") + counts.total("grpc", "good")
    wrong = "; ".join(counts.wrong[:3]) or "none otherwise"
    said = f"{good} good requests answered rightly or refused cleanly, {wrong}"
    return Check("every request answered or refused cleanly", not counts.wrong and good > 0, said)


def _counts(target: Target, gained: Figures) -> list[Check]:
    """Who left may have been counted as anything; all others as what they saw."""
    counts = target.counts
    left = {each: counts.total(each, "abandoned") for each in ("http", "grpc", "stream")}
    statuses = {
        int(key[2]): round(value)
        for key, value in gained.items()
        if key[0] == REQUESTS and key[1] == "/segment"
    }
    seen = counts.statuses
    each = all(
        seen[status] <= statuses.get(status, 0) <= seen[status] + left["http"] for status in seen
    )
    served, sent = sum(statuses.values()), sum(seen.values()) + left["http"]
    frames = {key[1]: round(value) for key, value in gained.items() if key[0] == FRAMES}
    streamed = counts.total("stream", "frames", "sent")
    success = round(sum(value for key, value in gained.items() if key[0] == SUCCESS))
    least = (
        seen[200]
        + counts.total("stream", "frames", "answered")
        + counts.total("grpc", "good", "answered")
    )
    return [
        Check(
            "/segment: the server's counts are the clients'",
            each and served == sent,
            f"{served} counted, {sent} sent, {left['http']} of them abandoned; "
            + ", ".join(f"{status}: {n}" for status, n in sorted(statuses.items()) if n),
        ),
        Check(
            "frames of streams: likewise",
            sum(frames.values()) == streamed,
            f"{sum(frames.values())} counted, {streamed} sent; "
            + ", ".join(f"{name}: {n}" for name, n in sorted(frames.items())),
        ),
        Check(
            "successes of the model: likewise",
            least <= success <= least + sum(left.values()),
            f"{success} counted, {least} seen, {sum(left.values())} abandoned",
        ),
    ]


def table(about: str, target: Target, most: float, memory: Memory, found: Sequence[Check]) -> str:
    """All of it, as Markdown."""
    counts = target.counts
    kinds = sorted({(transport, kind) for transport, kind, _ in counts.seen})
    outcomes = ("sent", "answered", "refused", "left", "wrong")
    lines = [
        "# Minutes at twice the capacity",
        "",
        about,
        f"Capacity: {most:.1f} answers a second to four HTTP clients; asked for: good ones, "
        f"{2 * most:.1f} a second, and others, for {memory[-1][0] / 60:.1f} minutes. Frames are "
        f"{target.image.shape[0]}x{target.image.shape[1]}. The clients run on the same machine.",
        "",
        "| check | holds | |",
        "|---|---|---|",
        *(f"| {each.name} | {'yes' if each.holds else '**no**'} | {each.said} |" for each in found),
        "",
        "| clients | " + " | ".join(outcomes) + " |",
        "|---|" + "---|" * len(outcomes),
    ]
    for transport, kind in kinds:
        cells = [counts.seen[transport, kind, outcome] for outcome in outcomes]
        lines.append(f"| {transport}, {kind} | " + " | ".join(f"{n or ''}" for n in cells) + " |")
    tenths = [memory[min(len(memory) - 1, len(memory) * i // 10)] for i in range(11)]
    lines += [
        "",
        "| minutes | " + " | ".join(f"{s / 60:.1f}" for s, _ in tenths) + " |",
        "|---|" + "---|" * len(tenths),
        "| MB resident | " + " | ".join(f"{mb:.0f}" for _, mb in tenths) + " |",
        f"\nAt most {max(mb for _, mb in memory):.0f} MB.",
    ]
    return "\n".join(lines) + "\n"
