"""Faults of ten kinds planted in a good bundle, hashes put right: which does `verify` find?

    python bench/planted_faults.py BUNDLE --count 40

BUNDLE needs fp32, fp16 and int8. Each fault is planted in a copy whose every hash fits, then the
copy is read with the good bundle's digest where the fault is one of the manifest's, and checked on
this machine. Writes bench/results/planted_faults.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.bundle import Bundle, Trust, read_bundle, write_bundle
from export.bundle.graphs import segmentor_file
from roadshift import Failure, UserError
from serve.device_check import through_bytes
from serve.device_check.verify import check_device
from serve.runtime import engine

HERE = Path(__file__).parent
Random = np.random.Generator
Contents = dict[str, bytes]


class Material(NamedTuple):
    """The good bundle, the files of its copy, and what is drawn at random."""

    bundle: Bundle
    contents: Contents
    random: Random


Planted = tuple[Bundle, str, AbstractContextManager[object]]
"""A bundle to be written, what was done, and a fault of the code that serves it."""


def behind(model: onnx.ModelProto, tensor: str, node: onnx.NodeProto, **constants: object) -> None:
    """What the graph made as `tensor` goes through a node first, for every reader of it."""
    output_alone(model, tensor, node, **constants)
    for one in model.graph.node:
        if one is not node and f"true_{tensor}" in one.input and list(one.output) != [tensor]:
            one.input[:] = [tensor if name == f"true_{tensor}" else name for name in one.input]


def output_alone(
    model: onnx.ModelProto, tensor: str, node: onnx.NodeProto, **constants: object
) -> None:
    """What the graph answers as `tensor` goes through a node first, and nothing else does."""
    graph, true = model.graph, f"true_{tensor}"
    nodes: list[onnx.NodeProto] = []
    for one in graph.node:
        made = tensor in one.output
        one.output[:] = [true if name == tensor else name for name in one.output]
        one.input[:] = [true if name == tensor else name for name in one.input]
        nodes += [one, node] if made else [one]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    )


def edited(contents: Contents, edit: Callable[[onnx.ModelProto], None], precision: str) -> None:
    """A segmentor's file, changed."""
    name = segmentor_file(precision)
    model = onnx.load_from_string(contents[name])
    edit(model)
    contents[name] = model.SerializeToString()


def evident(bundle: Bundle, random: Random, count: int) -> list[int]:
    """Classes that the golden frames show, the rarest first half of them."""
    pixels = bundle.limits("fp32")["classes"]
    rare = sorted(pixels, key=lambda name: pixels[name]["pixels"])[: max(2, len(pixels) // 2)]
    return [bundle.classes.index(str(name)) for name in random.choice(rare, count, replace=False)]


def swapped(of: Material) -> Planted:
    """Two rare classes change places."""
    a, b = evident(of.bundle, of.random, 2)
    order = np.arange(len(of.bundle.classes))
    order[[a, b]] = b, a
    node = helper.make_node("Gather", ["true_logits", "order"], ["logits"], axis=1)
    edited(of.contents, lambda model: behind(model, "logits", node, order=order), "fp32")
    return of.bundle, f"{of.bundle.classes[a]} and {of.bundle.classes[b]} swapped", nullcontext()


def never(of: Material) -> Planted:
    """A rare class is never predicted."""
    (c,) = evident(of.bundle, of.random, 1)
    shift = np.zeros((1, len(of.bundle.classes), 1, 1), np.float32)
    shift[0, c] = -1e4
    node = helper.make_node("Add", ["true_logits", "shift"], ["logits"])
    precision = str(of.random.choice(["fp32", "int8"]))
    edited(of.contents, lambda model: behind(model, "logits", node, shift=shift), precision)
    return of.bundle, f"{of.bundle.classes[c]} never predicted in {precision}", nullcontext()


def inverted(of: Material) -> Planted:
    """Confidence is the opposite."""
    precision = str(of.random.choice(["fp32", "fp16", "int8"]))
    node = helper.make_node("Sub", ["most", "true_confidence"], ["confidence"])
    most = np.array(255, np.uint8)
    edited(of.contents, lambda model: behind(model, "confidence", node, most=most), precision)
    return of.bundle, f"confidence inverted in {precision}", nullcontext()


def scaled(of: Material) -> Planted:
    """Logits times a factor: the labels are the same."""
    factor = np.float32(of.random.uniform(1.2, 4))
    node = helper.make_node("Mul", ["true_logits", "factor"], ["logits"])
    edited(of.contents, lambda model: output_alone(model, "logits", node, factor=factor), "fp32")
    return of.bundle, f"logits times {factor:.1f}", nullcontext()


def weights(of: Material) -> Planted:
    """All weights of the largest convolution off by some percent."""
    off = float(of.random.uniform(0.02, 0.1))

    def edit(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
        values = numpy_helper.to_array(tensor)
        noise = 1 + off * of.random.standard_normal(values.shape).astype(values.dtype)
        tensor.CopyFrom(numpy_helper.from_array(values * noise, tensor.name))

    edited(of.contents, edit, "fp32")
    return of.bundle, f"the largest layer's weights off by {off:.0%}", nullcontext()


def in_a_batch(of: Material) -> Planted:
    """Frames behind the first get its labels, by the exact route."""
    real = engine.labels_at

    def first(logits: np.ndarray, *more: object) -> np.ndarray:
        return np.repeat(real(logits[:1], *more), len(logits), 0)  # pyright: ignore[reportArgumentType]

    return (
        of.bundle,
        "a batch has the first frame's labels",
        patch.object(engine, "labels_at", first),
    )


def in_name_only(of: Material) -> Planted:
    """A lower precision's file is the float32 one."""
    precision = str(of.random.choice(["fp16", "int8"]))
    of.contents[segmentor_file(precision)] = of.contents[segmentor_file("fp32")]
    return of.bundle, f"{precision} is fp32", nullcontext()


def manifest(of: Material) -> Planted:
    """Values of the manifest that no graph knows."""
    shifted = tuple(tuple((c + 40) % 256 for c in colour) for colour in of.bundle.palette)
    loose = {
        **of.bundle.checks,
        "precisions": {p: {"min_agreement": 0.5} for p in of.bundle.precisions},
    }
    changes = [
        ("names reversed", {"classes": of.bundle.classes[::-1]}),
        ("palette shifted", {"palette": shifted}),
        ("thresholds 0.5", {"checks": loose}),
        ("smallest size 1x1", {"min_size": (1, 1)}),
    ]
    what, change = changes[int(of.random.integers(len(changes)))]
    return replace(of.bundle, **change), f"bundle.json: {what}", nullcontext()


def decoder(of: Material) -> Planted:
    """The decoder swaps red and blue."""
    real = through_bytes.decode
    fault = patch.object(through_bytes, "decode", lambda data: real(data)[..., ::-1])
    return of.bundle, "the decoder swaps channels", fault


def encoder(of: Material) -> Planted:
    """The label PNG is off."""
    real, by = through_bytes.encode_png, int(of.random.integers(1, 4))
    fault = patch.object(through_bytes, "encode_png", lambda labels: real(labels + np.uint8(by)))
    return of.bundle, f"the label PNG is off by {by}", fault


KINDS = (
    swapped,
    never,
    inverted,
    scaled,
    weights,
    in_a_batch,
    in_name_only,
    manifest,
    decoder,
    encoder,
)


def main() -> None:
    """Plant them in turns, print and write what became of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    good = read_bundle(asked.bundle)
    if wrong := tried(good, unharmed, np.random.default_rng(0))[1]:
        raise SystemExit(f"a copy without a fault is refused, so no refusal says anything: {wrong}")
    random, rows = np.random.default_rng(asked.seed), list[tuple[str, str, str]]()
    for i in range(asked.count):
        kind = KINDS[i % len(KINDS)]
        what, found = tried(good, kind, random)
        rows.append((kind.__name__, what, found or "**not found**"))
        print(" | ".join(rows[-1]), flush=True)
    text = written(good, rows)
    (HERE / "results" / "planted_faults.md").write_text(text)
    print(text.splitlines()[2])


def unharmed(material: Material) -> Planted:
    """No fault at all: what is tried first."""
    return material.bundle, "nothing", nullcontext()


def tried(good: Bundle, kind: Callable[..., Planted], random: Random) -> tuple[str, str]:
    """One fault, and the first words of the error that it ends in ("": none)."""
    names = [name for name in good.files if not name.startswith("golden/")]
    contents = {name: good.path(name).read_bytes() for name in names}
    changed, what, fault = kind(Material(good, contents, random))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / good.name
        write_bundle(replace(changed, folder=place), contents, good.golden())
        try:
            bundle = read_bundle(place, Trust(digest=good.digest if kind is manifest else None))
            with fault:
                check_device(bundle, precisions=bundle.precisions, runs=1)
        except (Failure, UserError) as error:
            return what, str(error).replace(str(place), "BUNDLE")[:110]
    return what, ""


def written(good: Bundle, rows: list[tuple[str, str, str]]) -> str:
    """The table."""
    caught = sum(found != "**not found**" for _, _, found in rows)
    lines = [
        f"# Faults planted in a bundle: {good.provenance['network']}, {len(good.classes)} classes",
        "",
        f"{caught} of {len(rows)} are found. Every hash fits; faults of `bundle.json` are found by",
        "its digest. Made by `python bench/planted_faults.py BUNDLE`.",
        "",
        "| kind | what | found by |",
        "|---|---|---|",
        *(f"| {kind} | {what} | {found} |" for kind, what, found in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
