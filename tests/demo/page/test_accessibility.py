"""axe-core on every tab, in light and in dark: no fault that it calls serious or critical."""

import pytest
from demo_page import said

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
BUILT = {
    "Picture": "() => document.querySelector('rs-picture .rs-class')",
    "Adaptation": "() => document.querySelector('#compared table')",
    "Reconstruction": "() => document.querySelector('#redrawn')?.textContent.startsWith('Redrawn')",
    "Video": "() => document.querySelector('#clip-status')",
    "Report": "() => document.querySelector('#report h2')",
}
"""When there is something of a tab to look at."""


@pytest.fixture(scope="module", params=["light", "dark"])
def view(request, demo, browser):
    width = {"light": 1280, "dark": 390}[request.param]
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=request.param)
    page.goto(demo[0])
    said(page, "example 1: ")
    yield page
    page.close()


@pytest.mark.parametrize("tab", BUILT)
def test_no_serious_fault(view, tab) -> None:
    view.get_by_role("tab", name=tab).click()
    view.wait_for_function(BUILT[tab])
    view.wait_for_timeout(500)  # what fades in has done so
    check(view)


def test_no_serious_fault_while_the_camera_is_on(view) -> None:
    view.get_by_role("tab", name="Video").click()
    view.get_by_role("button", name="Live camera").click()
    view.wait_for_function(
        "() => document.querySelector('#live-figures')?.textContent.includes('FPS')"
    )
    check(view)
    view.get_by_role("button", name="Stop the camera").click()


def check(view) -> None:
    found = axe.Axe().run(view).response["violations"]
    serious = [
        (v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
