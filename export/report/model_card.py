"""The bundle's model card, as hubs and forges show it: README.md, from what the manifest says.

Sections after Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, in the order that the
Hugging Face Hub's template has them. What nobody knows (a licence, a cost) is not made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from export.bundle import Bundle
from export.bundle.data_name import data_name
from export.bundle.graphs import segmentor_file
from export.provenance import steps_of
from export.report.document import Block, Heading, Points, Table, Text, markdown
from roadshift import hxw

WEAK = 10.0
"""percent of IoU under which a class is named as one that the model does not see"""
TAGS = """---
pipeline_tag: image-segmentation
tags: [semantic-segmentation, domain-adaptation, driving, onnx]
---
"""


def model_card(bundle: Bundle) -> str:
    """Markdown under a header that hubs read."""
    blocks = [
        Heading(bundle.name, 1),
        *_details(bundle),
        *_uses(bundle),
        *_risks(bundle),
        *_training(bundle.provenance),
        *_evaluation(bundle.scores),
        *_start(bundle),
    ]
    return f"{TAGS}\n{markdown(blocks)}"


def _details(bundle: Bundle) -> Iterator[Block]:
    facts = bundle.provenance
    takes = (
        f"{hxw(bundle.size)} pixels, no other size"
        if bundle.size
        else f"any size from {hxw(bundle.min_size)} pixels on"
    )
    inside = f", worked at {hxw(facts['work_size'])}" if facts["work_size"] else ""
    yield Heading("Model details")
    yield Points(
        [
            f"Semantic segmentation of street images: `{facts['network']}`, {_made(facts)}.",
            f"{len(bundle.classes)} classes: {', '.join(bundle.classes)}.",
            f"Input `image`: uint8 RGB [N,H,W,3], {takes}{inside}.",
            "Output `labels`: uint8 [N,H,W], an index into the classes; beside them `confidence` "
            "(uint8, 255 = sure) and `logits`.",
            f"Files: {', '.join(f'`{segmentor_file(p)}` ({p})' for p in bundle.precisions)}, ONNX "
            f"opset {bundle.opset}; resizing, normalisation and argmax are in the graph.",
            f"Made by roadshift {facts['exported_with']['roadshift']}.",
        ]
    )


def _made(facts: Mapping[str, Any]) -> str:
    if not facts["steps"]:
        return "a module of its own training"
    source, target = _data(facts["source"]), _data(facts["target"])
    return f"trained by `{facts['method']}` from {source} to {target}"


def _uses(bundle: Bundle) -> Iterator[Block]:
    target = bundle.provenance["target"]
    seen = _data(target) if target else "the frames it was compared on"
    yield Heading("Uses")
    yield Text(
        f"Direct use: labels, and how sure they are, of frames like those of {seen}: the same "
        "kind of camera, mounted and exposed alike, by the same light."
    )
    yield Text(
        "Out of scope: decisions that people's safety depends on, unless whoever deploys it has "
        "validated it for them; other viewpoints, other weather, other sizes of frames, which the "
        "evaluation below does not cover; telling people apart."
    )


def _risks(bundle: Bundle) -> Iterator[Block]:
    lines = [
        "Every pixel gets one of the classes above, also what is none of them.",
        "Confidence is the network's own and was not calibrated.",
    ]
    for data, score in bundle.scores.items():
        iou = {k: v for k, v in score.get("iou", {}).items() if v is not None}
        if weak := [name for name, value in iou.items() if value < WEAK]:
            lines.append(f"Hardly seen on {_data(data)} (IoU under {WEAK:g} %): {', '.join(weak)}.")
        if absent := [name for name, v in score.get("iou", {}).items() if v is None]:
            lines.append(f"Not in the labels of {_data(data)}, so not scored: {', '.join(absent)}.")
    if not bundle.scores:
        lines.append("It has not been scored on labels: how often it is right is not known.")
    if missing := bundle.checks.get("no_evidence"):
        lines.append(f"No frame that the graph was verified on shows: {', '.join(missing)}.")
    yield Heading("Bias, risks and limitations")
    yield Points(lines)


def _training(facts: Mapping[str, Any]) -> Iterator[Block]:
    if not facts["steps"]:
        return
    yield Heading("Training")
    yield Points(
        [
            *_trained_on(facts),
            f"`{facts['method']}`, {steps_of(facts)}, seed {facts['seed']}; {_checkpoint(facts)}.",
            f"Code: commit `{facts['commit']}`, with {_versions(facts['trained_with'])}.",
        ]
    )


def _trained_on(facts: Mapping[str, Any]) -> Iterator[str]:
    """Which images, and what was known of them."""
    source, target = (
        f"{_data(facts[city])} (fingerprint `{facts['fingerprints'].get(city, 'unknown')}`)"
        for city in ("source", "target")
    )
    if facts["teacher"]:
        yield (
            f"The answers of another network, `{facts['teacher']}`, which had learnt from labelled "
            f"images of {_data(facts['source'])}."
        )
    else:
        yield f"Labelled source: {source}."
    if facts["image_labels"]:
        yield f"Target, its images and which classes each of them shows: {target}."
    elif facts["method"] != "source_only":
        yield f"Target, its images alone: {target}."


def _checkpoint(facts: Mapping[str, Any]) -> str:
    if facts["checkpoint"] == "last":
        return "the last checkpoint, not the best on any labels"
    if facts["selected_on"]:
        labels = _data(facts["selected_on"])
        return f"the checkpoint that was best on the labels of {labels}: scores there are not fair"
    return "the best checkpoint by a signal that needs no label"


def _data(spec: str) -> str:
    """A spec without the folders of the machine that has it."""
    return f"`{data_name(spec)} {spec.partition('#')[2]}".strip() + "`"


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _evaluation(scores: Mapping[str, Any]) -> Iterator[Block]:
    yield Heading("Evaluation")
    if not scores:
        yield Text("None is on record: `roadshift evaluate RUN --data SPEC`, then export again.")
    for data, score in scores.items():
        yield Text(
            f"On {score['images']} images of {_data(data)}, labels at full size: mIoU "
            f"**{_percent(score['miou'])}** percent."
        )
        rows = [(name, _percent(value)) for name, value in score["iou"].items()]
        yield Table(("class", "IoU in percent"), rows)
    yield Text(
        "The graphs were compared with the trained network before the bundle was written: "
        "[report.md](report.md)."
    )


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{value:.1f}"


def _start(bundle: Bundle) -> Iterator[Block]:
    name = bundle.name
    yield Heading("How to get started")
    yield Text(
        f"```sh\nroadshift verify {name}              # is it whole, and right on this machine?\n"
        f"roadshift segment {name} frame.jpg --out labelled\nroadshift serve {name}\n```"
    )
    yield Text(
        "```python\nfrom serve.library import open_bundle\n\n"
        f'answer = open_bundle("{name}").segment(frame)  # RGB uint8 [h,w,3], or a file\'s bytes\n'
        "```"
    )
