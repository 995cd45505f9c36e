"""The HTML pieces."""

import math

import pytest

from demo.html_parts import data_uri, facts_table, legend, size_text, text


def test_values_are_escaped_and_readable() -> None:
    assert text("<script>") == "&lt;script&gt;"
    assert [text(v) for v in (None, "", math.nan, True, False, 0, 0.123456)] == [
        "–", "–", "–", "yes", "no", "0", "0.1235",
    ]  # fmt: skip


def test_facts_escape_both_columns() -> None:
    table = facts_table([("<a>", "<b>")])
    assert "&lt;a&gt;" in table
    assert "&lt;b&gt;" in table


def test_sizes_are_height_times_width() -> None:
    assert size_text((256, 512)) == "256x512"
    assert size_text(None) == "any"


def test_data_uri_holds_the_bytes() -> None:
    assert data_uri(b"abc") == "data:image/png;base64,YWJj"


def test_legend_sorts_by_share_and_fades_what_is_absent() -> None:
    shares = {"road": 0.25, "sky": 0.0, "<car>": 0.7498, "pole": 0.0002}
    rows = legend(shares, [(128, 64, 128), (70, 130, 180), (0, 0, 142), (1, 2, 3)]).split("<tr")[1:]
    assert all(part in row for part, row in zip(("car", "road", "pole", "sky"), rows, strict=True))
    assert all(part in rows[0] for part in ("&lt;car&gt;", "#00008e", "75.0 %", "width:100.00%"))
    assert "25.0 %" in rows[1]
    assert "&lt;0.1 %" in rows[2]
    assert ["rs-absent" in row for row in rows] == [False, False, False, True]


def test_legend_of_nothing_seen_has_empty_bars() -> None:
    assert "width:0.00%" in legend({"road": 0.0}, [(1, 2, 3)])


def test_legend_wants_a_colour_for_every_class() -> None:
    with pytest.raises(ValueError, match="zip"):
        legend({"road": 1.0}, [])
