"""What a bundle says of itself, as HTML: sizes, method, scores, checks and file hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from demo.html_parts import facts_table, size_text, text
from export.bundle import Bundle
from export.bundle.graphs import drawing_graphs

Values = Mapping[str, Any]
ROUTES = {
    "exact": "from the low-resolution logits, interpolated on class borders only",
    "dense": "from the graph's own argmax",
}


def data_name(spec: str) -> str:
    """What to call the data of a spec (KIND:PATH#SPLIT) before strangers: no folder of a machine.

    The last part of the path that says something, with the kind where there is no path.
    """
    place = spec.partition("#")[0]
    kind, found, path = place.partition(":")
    parts = [
        part for part in re.split(r"[/\\]", path if found else kind) if part not in ("", ".", "..")
    ]
    if not parts:
        return place
    return parts[-1] if len(parts) > 1 or kind == "folder" else place


def bundle_facts(bundle: Bundle) -> str:
    """All facts of the bundle's manifest, each group of them under its own heading."""
    graph = {
        "name": bundle.name,
        "classes": len(bundle.classes),
        "image size (height x width)": size_text(bundle.size),
        "smallest image": size_text(bundle.min_size),
        "precisions": ", ".join(bundle.precisions),
        "labels": ROUTES[bundle.route],
        "ONNX opset": bundle.opset,
        **{graph.kind: graph.file in bundle.files for graph in drawing_graphs()},
    }
    parts = [
        *sections("Segmentor", graph),
        *sections("Where it comes from", bundle.provenance),
        *sections("Scores", bundle.scores),
        *sections("Checks at export", bundle.checks),
        *sections("Files (SHA-256)", bundle.files),
    ]
    return f'<div class="rs-facts">{"".join(parts)}</div>'


def sections(title: str, values: Values) -> list[str]:
    """One table of the plain values, then one for every dictionary or list of dictionaries."""
    plain: list[tuple[str, object]] = []
    below: list[str] = []
    for key, value in values.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            below += sections(f"{title}: {name}", cast("Values", value))
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            below.append(
                _section(f"{title}: {name}", _matrix(cast("Sequence[Values]", value)), True)
            )
        else:
            plain.append((name, _short(value)))
    return ([_section(title, facts_table(plain), False)] if plain else []) + below


def _section(title: str, table: str, wide: bool) -> str:
    return f"<section{' class=rs-wide' if wide else ''}><h3>{text(title)}</h3>{table}</section>"


def _matrix(rows: Sequence[Values]) -> str:
    """A row a dictionary; the first one names the columns."""
    heads = "".join(f"<th>{text(str(key).replace('_', ' '))}</th>" for key in rows[0])
    lines = (
        "<tr>" + "".join(f"<td>{text(_short(row.get(key)))}</td>" for key in rows[0]) + "</tr>"
        for row in rows
    )
    return f'<table class="rs-table"><tr>{heads}</tr>{"".join(lines)}</table>'


def _short(value: object) -> object:
    """Lists as text and long hashes by their beginning."""
    if isinstance(value, list | tuple):
        parts = [_short(part) for part in cast("Sequence[object]", value)]
        return ", ".join(f"{p:.4g}" if isinstance(p, float) else str(p) for p in parts)
    if isinstance(value, str):
        return re.sub(r"\b([0-9a-f]{16})[0-9a-f]{24,}", r"\1…", value)
    return value
