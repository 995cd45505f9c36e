"""A small document, as Markdown for a terminal and as one HTML page without anything from outside.

Text may hold **bold** and `code`, which both forms show.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Heading:
    """A title (level 1) or the title of a section (level 2)."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of texts under the texts of `head`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG; Markdown has `instead` of it."""

    svg: str
    instead: str


Block: TypeAlias = Heading | Text | Points | Table | Figure

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
p, li { overflow-wrap: anywhere }
/* What lies beyond an edge throws a shadow on it. */
.wide { overflow-x: auto; background: linear-gradient(to right, Canvas 30%, transparent),
  linear-gradient(to left, Canvas 30%, transparent) right,
  radial-gradient(farthest-side at 0, #8888, transparent),
  radial-gradient(farthest-side at 100%, #8888, transparent) right;
  background-repeat: no-repeat; background-size: 3rem 100%, 3rem 100%, 1rem 100%, 1rem 100%;
  background-attachment: local, local, scroll, scroll }
.wide:focus-visible { outline: 3px solid Highlight }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #8886 }
code { font-size: .95em; background: #8882; padding: 0 .2em; border-radius: .2em }
svg { max-width: 100%; height: auto }
"""


def markdown(blocks: Sequence[Block]) -> str:
    """The document as Markdown, a blank line between its parts."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def page(title: str, blocks: Sequence[Block]) -> str:
    """The document as one HTML page."""
    body = "\n".join(map(_html, blocks))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</html>\n"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Points):
        return "\n".join(f"- {line}" for line in block.lines)
    if isinstance(block, Figure):
        return block.instead
    lines = [block.head, ["---"] * len(block.head), *block.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Points):
        return "<ul>" + "".join(f"<li>{_inline(line)}</li>" for line in block.lines) + "</ul>"
    if isinstance(block, Figure):
        return f"<figure>{block.svg}</figure>"
    head = _row("th", block.head)
    rows = "".join(_row("td", row) for row in block.rows)
    table = f"<table>{head}{rows}</table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="Table">{table}</div>'


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    """Escaped, with **bold** and `code` as HTML."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
