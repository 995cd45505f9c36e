"""The bundle's report on a narrow screen: wide tables scroll by themselves, the page does not."""

from export.report.document import Heading, Table, Text, page


def test_the_page_does_not_scroll_sideways(browser, tmp_path) -> None:
    words = "commit `" + "0123456789abcdef" * 4 + "`"
    table = Table([f"a long column {i}" for i in range(14)], [["0.1234567"] * 14])
    (tmp_path / "report.html").write_text(page("x", [Heading("x", 1), Text(words), table]))
    view = browser.new_page(viewport={"width": 390, "height": 844})
    view.goto((tmp_path / "report.html").as_uri())
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    box = view.get_by_role("region")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    view.close()
