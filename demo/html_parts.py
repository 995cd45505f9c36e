"""The HTML pieces of the demo page and the quickstart's report; everything is escaped."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence

from roadshift import hxw
from serve.media.paint import Colour

# Colours and spacing of the pieces below; the page around them sets --rs-line and --rs-faint.
CSS = """
.rs-table { border-collapse: collapse; width: 100%; line-height: 1.35;
  margin: 0 !important; }
.rs-table, .rs-table tr { border: 0 !important; background: none !important; }
.rs-table th, .rs-table td { padding: 5px 8px; text-align: left; vertical-align: middle;
  overflow-wrap: anywhere; border: 0 !important;
  border-bottom: 1px solid var(--rs-line) !important; }
.rs-table th { font-weight: 600; }
.rs-table .rs-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.rs-swatch { display: inline-block; width: 14px; height: 14px; border-radius: 4px;
  margin-right: 9px; vertical-align: -2px; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, 0.55); }
.rs-track { background: var(--rs-faint); border-radius: 4px; height: 10px; min-width: 60px;
  overflow: hidden; }
.rs-bar { height: 10px; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, 0.35); }
.rs-facts .rs-wide { grid-column: 1 / -1; }
.rs-scroll { overflow-x: auto; max-width: 100%; }
.rs-scroll td, .rs-scroll th, .rs-facts th { overflow-wrap: normal; }
.rs-facts th[scope=row] { font-weight: 400; }
.rs-bars td:nth-child(2) { width: 45%; }
.rs-facts { display: grid; gap: 8px 36px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, max(380px, 34%)), 1fr)); }
.rs-facts h2 { font-size: 19px; margin: 14px 0 4px; }
"""


def text(value: object) -> str:
    """`value` in a form for people, escaped: floats to four digits, nothing as a dash."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def swatch(colour: Colour) -> str:
    """A small square of that RGB colour."""
    return f'<span class="rs-swatch" style="background:{hexadecimal(colour)}"></span>'


def hexadecimal(colour: Colour) -> str:
    """RGB in 0..255 as #rrggbb."""
    return "#" + bytes(colour).hex()


def data_uri(png: bytes) -> str:
    """A PNG file's bytes as an address that an <img> shows without fetching anything."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def facts_table(rows: Iterable[tuple[str, object]]) -> str:
    """A table of two columns, a fact a row."""
    lines = "".join(f'<tr><th scope="row">{text(a)}</th><td>{text(b)}</td></tr>' for a, b in rows)
    return f'<table class="rs-table">{lines}</table>'


def numbers_table(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of numbers under their names; it scrolls by itself where it is too wide."""
    heads = "".join(f'<th scope="col" class="rs-number">{text(cell)}</th>' for cell in head[1:])
    lines = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f'<td class="rs-number">{text(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return scrolling(
        name,
        f'<table class="rs-table"><tr><th scope="col">{text(head[0])}</th>{heads}</tr>{lines}'
        "</table>",
    )


def scrolling(name: str, table: str) -> str:
    """A wide table in a box that scrolls sideways, also with the keyboard; the page does not."""
    return (
        f'<div class="rs-scroll" tabindex="0" role="region" aria-label="{text(name)}">{table}</div>'
    )


def size_text(size: tuple[int, int] | None) -> str:
    """(height, width) as HxW, and None as "any"."""
    return "any" if size is None else hxw(size)
