"""The faults of `planted_faults.py`: each changes a good bundle's files, or what serves it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.bundle import Bundle
from export.bundle.graphs import segmentor_file
from serve.device_check import through_bytes
from serve.runtime import engine

Random = np.random.Generator
Contents = dict[str, bytes]


class Material(NamedTuple):
    """The good bundle, the files of its copy, and what is drawn at random."""

    bundle: Bundle
    contents: Contents
    random: Random


Planted = tuple[Bundle, str, AbstractContextManager[object]]
"""A bundle to be written, what was done, and a fault of the code that serves it."""


def behind(
    model: onnx.ModelProto, tensor: str, *nodes: onnx.NodeProto, **constants: object
) -> None:
    """What the graph made as `tensor` goes through nodes first, for every reader of it."""
    before = len(model.graph.node)
    output_alone(model, tensor, *nodes, **constants)
    assert len(model.graph.node) == before + len(nodes)
    mine = {name for node in nodes for name in node.output}
    for one in model.graph.node:
        if mine.isdisjoint(one.output):
            one.input[:] = [tensor if name == f"true_{tensor}" else name for name in one.input]


def output_alone(
    model: onnx.ModelProto, tensor: str, *new: onnx.NodeProto, **constants: object
) -> None:
    """What the graph answers as `tensor` goes through nodes first, and nothing else does."""
    graph, true = model.graph, f"true_{tensor}"
    nodes: list[onnx.NodeProto] = []
    for one in graph.node:
        made = tensor in one.output
        one.output[:] = [true if name == tensor else name for name in one.output]
        one.input[:] = [true if name == tensor else name for name in one.input]
        nodes += [one, *new] if made else [one]
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


def later_in_a_batch(of: Material) -> Planted:
    """From one frame of a batch on, the third or a later one, all have the first one's logits."""
    precision, at = str(of.random.choice(["fp32", "int8"])), int(of.random.integers(2, 5))
    nodes = [
        helper.make_node("Slice", ["true_logits", "nought", "from", "nought"], ["good"]),
        helper.make_node("Slice", ["true_logits", "from", "end", "nought"], ["rest"]),
        helper.make_node("Gather", ["true_logits", "nought"], ["first"]),
        helper.make_node("Shape", ["rest"], ["as_many"]),
        helper.make_node("Expand", ["first", "as_many"], ["same"]),
        helper.make_node("Concat", ["good", "same"], ["logits"], axis=0),
    ]
    numbers = {"nought": np.array([0]), "from": np.array([at]), "end": np.array([1 << 40])}
    edited(of.contents, lambda model: behind(model, "logits", *nodes, **numbers), precision)
    return of.bundle, f"frames {at + 1}.. have the first one's logits in {precision}", nullcontext()


def at_large_sizes(of: Material) -> Planted:
    """A class is never predicted in frames above a height that no golden frame has."""
    c, height = int(of.random.integers(len(of.bundle.classes))), int(of.random.integers(400, 900))
    nodes = [
        helper.make_node("Shape", ["image"], ["height"], start=1, end=2),
        helper.make_node("Greater", ["height", "most"], ["tall"]),
        helper.make_node("Cast", ["tall"], ["times"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["times", "shift"], ["by"]),
        helper.make_node("Add", ["true_logits", "by"], ["logits"]),
    ]
    shift = np.zeros((1, len(of.bundle.classes), 1, 1), np.float32)
    shift[0, c] = -1e4
    numbers = {"most": np.array([height]), "shift": shift}
    edited(of.contents, lambda model: behind(model, "logits", *nodes, **numbers), "fp32")
    return of.bundle, f"no {of.bundle.classes[c]} in frames above {height} rows", nullcontext()


def in_one_place(of: Material) -> Planted:
    """A class is not predicted in one place of the frame."""
    logits = of.bundle.golden()[0].logits
    assert logits is not None
    c, y, x = (int(of.random.integers(n)) for n in logits.shape)
    spot = np.zeros((1, *logits.shape), np.float32)
    deviation = float(logits.astype(np.float64).std())
    spot[0, c, y, x] = -0.4 * deviation * np.sqrt(len(logits))  # an RMS of 0.4 over the classes
    nodes = [
        helper.make_node("Shape", ["true_logits"], ["as_large"]),
        helper.make_node("Resize", ["spot", "", "", "as_large"], ["there"], mode="nearest"),
        helper.make_node("Add", ["true_logits", "there"], ["logits"]),
    ]
    edited(of.contents, lambda model: behind(model, "logits", *nodes, spot=spot), "fp32")
    return (
        of.bundle,
        f"less {of.bundle.classes[c]} at {y}, {x} of {logits.shape[1:]}",
        nullcontext(),
    )


def by_chance(of: Material) -> Planted:
    """One frame in a hundred loses a class."""
    (c,) = evident(of.bundle, of.random, 1)
    shift = np.zeros((1, len(of.bundle.classes), 1, 1), np.float32)
    shift[0, c] = -1e4
    nodes = [
        helper.make_node("RandomUniform", [], ["dice"], shape=[1, 1, 1, 1]),
        helper.make_node("Greater", ["dice", "nearly"], ["now"]),
        helper.make_node("Cast", ["now"], ["times"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["times", "shift"], ["by"]),
        helper.make_node("Add", ["true_logits", "by"], ["logits"]),
    ]
    numbers = {"shift": shift, "nearly": np.float32(0.99)}
    edited(of.contents, lambda model: behind(model, "logits", *nodes, **numbers), "fp32")
    return of.bundle, f"one frame in a hundred has no {of.bundle.classes[c]}", nullcontext()


def always_sure(of: Material) -> Planted:
    """A class has full confidence wherever it is predicted, by the graph's own confidence."""
    c = int(of.random.integers(len(of.bundle.classes)))
    nodes = [
        helper.make_node("Equal", ["labels", "class"], ["there"]),
        helper.make_node("Where", ["there", "sure_of_it", "true_confidence"], ["confidence"]),
    ]
    numbers = {"class": np.array(c, np.uint8), "sure_of_it": np.array(255, np.uint8)}
    edited(of.contents, lambda model: behind(model, "confidence", *nodes, **numbers), "fp32")
    return of.bundle, f"{of.bundle.classes[c]} is always sure", nullcontext()


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
    later_in_a_batch,
    at_large_sizes,
    in_one_place,
    by_chance,
    always_sure,
)
