"""The layers of a graph in a few groups, by the module path that torch gave their weights."""

from __future__ import annotations

from typing import TypeAlias

import onnx
from onnx import NodeProto

from export.precision.graph_index import Flow, prepared

Path: TypeAlias = tuple[str, ...]


def layer_groups(model: onnx.ModelProto, most: int = 24) -> dict[str, tuple[str, ...]]:
    """Group -> names of its nodes, in the graph's order; at most `most` groups.

    A group is named by what the paths of its weights begin with ("segmentor.backbone.layer3"), or,
    where a module has more parts than there may be groups, by its first and last part
    ("segmentor.backbone.layer3.0-7"). The nodes between two layers belong to the earlier one. Those
    before the first layer and behind the last are in no group.
    """
    return group_nodes(Flow(prepared(model)), most)


def group_nodes(flow: Flow, most: int = 24) -> dict[str, tuple[str, ...]]:
    """`layer_groups` of a graph that is indexed already."""
    layers = [node for node in flow.nodes if flow.is_weighted(node)]
    order = {node.name: i for i, node in enumerate(layers)}
    members: dict[str, list[str]] = {node.name: [] for node in layers}
    latest: dict[str, str] = {}  # of a tensor: the last layer that it depends on
    for node in flow.nodes:
        before = [latest[name] for name in node.input if name in latest]
        layer = node.name if node.name in order else max(before, key=order.__getitem__, default="")
        if not layer:
            continue
        latest.update(dict.fromkeys(node.output, layer))
        if node.name not in flow.tail or node.name == layer:
            members[layer].append(node.name)
    named = _named([_path(node) for node in layers], most)
    groups: dict[str, list[str]] = {}
    for node, name in zip(layers, named, strict=True):
        groups.setdefault(name, []).extend(members[node.name])
    return {name: tuple(nodes) for name, nodes in groups.items()}


def _path(layer: NodeProto) -> Path:
    """The module's path: that of the weights, or of the node where the weights are anonymous."""
    module, weight, _ = layer.input[1].partition(".weight")
    return tuple((module if weight else layer.name.strip("/").replace("/", ".")).split("."))


def _named(paths: list[Path], most: int) -> list[str]:
    """The group of each layer: groups far above the average are split as long as there is room."""
    groups: list[tuple[Path, list[int]]] = [((), list(range(len(paths))))]
    done: list[tuple[str, list[int]]] = []
    while groups:
        groups.sort(key=lambda group: -len(group[1]))
        prefix, inside = groups.pop(0)
        prefix = _common([paths[i] for i in inside])
        parts = _parts(paths, inside, len(prefix))
        room = most - len(groups) - len(done)
        share = -(-len(inside) * most // (2 * len(paths)))  # in groups of twice the average
        if 2 <= len(parts) <= room and len(inside) * most > len(paths):
            groups.extend((prefix, part) for part in parts.values())
        else:
            done.extend(_runs(prefix, parts, min(room, share, len(parts))))
    names = {i: name for name, inside in done for i in inside}
    return [names[i] for i in range(len(paths))]


def _common(paths: list[Path]) -> Path:
    """What all of them begin with."""
    first, last = min(paths), max(paths)
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: same.index(False) if False in same else len(same)]


def _parts(paths: list[Path], inside: list[int], depth: int) -> dict[str, list[int]]:
    """By the next step of their paths."""
    parts: dict[str, list[int]] = {}
    for i in inside:
        step = paths[i][depth] if depth < len(paths[i]) else ""
        parts.setdefault(step, []).append(i)
    return parts


def _runs(prefix: Path, parts: dict[str, list[int]], count: int) -> list[tuple[str, list[int]]]:
    """Neighbouring parts together, in `count` groups or one."""
    steps, runs = list(parts), list[tuple[str, list[int]]]()
    if count < 2:
        return [(".".join(prefix), [i for part in parts.values() for i in part])]
    for k in range(count):
        run = steps[k * len(steps) // count : (k + 1) * len(steps) // count]
        name = run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}"
        runs.append((".".join((*prefix, name)), [i for step in run for i in parts[step]]))
    return runs
