"""The HTML pieces."""

import math

from demo.html_parts import data_uri, facts_table, size_text, text


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
