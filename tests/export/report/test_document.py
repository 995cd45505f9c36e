from __future__ import annotations

from html.parser import HTMLParser

import pytest

from export.report.document import Figure, Heading, Points, Table, Text, markdown, page

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>a < b</text></svg>'
BLOCKS = [
    Heading("A <street>", 1),
    Text("**Passed** by `torch<2>` & friends: 3 * 4 * 5."),
    Table(("size", "frames"), [("3x4", "<1"), ("5x6", "2")]),
    Points(["one", "two `x`"]),
    Figure(SVG, "the page shows it"),
]


class Tags(HTMLParser):
    """Which elements there are, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, _attrs):
        self.seen.append(tag)
        if tag not in ("meta", "p", "td", "th", "tr", "li"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_markdown() -> None:
    assert markdown(BLOCKS) == (
        "# A <street>\n\n"
        "**Passed** by `torch<2>` & friends: 3 * 4 * 5.\n\n"
        "| size | frames |\n| --- | --- |\n| 3x4 | <1 |\n| 5x6 | 2 |\n\n"
        "- one\n- two `x`\n\n"
        "the page shows it\n"
    )


def test_the_page_is_whole_and_holds_no_markup_from_its_texts() -> None:
    text = page("A <street>", BLOCKS)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert {"street", "1"}.isdisjoint(tags.seen)
    assert tags.seen.count("tr") == 3
    assert "<b>Passed</b> by <code>torch&lt;2&gt;</code> &amp; friends: 3 * 4 * 5." in text
    assert SVG in text


@pytest.mark.parametrize("outside", ["http://", "https://", "src=", "<script", "@import"])
def test_the_page_loads_nothing(outside) -> None:
    assert outside not in page("street", BLOCKS).replace("http://www.w3.org/2000/svg", "")
