"""What comes late in a real browser: the newest wish counts, and nothing stays busy for ever."""

import pytest
from demo_page import pixel, said
from PIL import Image

HOLD = """pattern => { window.held = []; window.signals = []; window.fetched ??= window.fetch;
window.fetch = (address, options) => new RegExp(pattern).test(address)
  ? new Promise((done, fail) => { signals.push(options?.signal);
      held.push(() => fetched(address, options).then(done, fail));
      options?.signal?.addEventListener('abort', () => fail(options.signal.reason)); })
  : fetched(address, options); }"""
LET_GO = "() => { window.fetch = window.fetched; window.held.splice(0).forEach(one => one()); }"
DIFFER = "() => document.querySelector('#changed').textContent.includes('differ')"
HELD = "n => window.held.length === n"


@pytest.fixture
def held(page):
    """Holds the requests whose address fits a pattern back, until `LET_GO`."""

    def hold(pattern: str) -> None:
        page.evaluate(HOLD, pattern)

    yield hold
    page.evaluate("() => { if (window.fetched) window.fetch = window.fetched; }")


def example(page, number: int):
    return page.get_by_role("button", name=f"Example {number}", exact=True)


def test_an_example_that_comes_late_does_not_replace_the_choice_after_it(page, held) -> None:
    held("examples/1")
    example(page, 2).click()
    page.wait_for_function(HELD, arg=1)
    example(page, 1).click()
    said(page, "example 1: ")
    page.evaluate(LET_GO)
    page.wait_for_timeout(300)
    assert page.locator("#status").inner_text().startswith("example 1: ")


def test_a_demo_that_is_gone_is_told_for_an_example_too(page) -> None:
    page.evaluate("() => { window.fetched ??= fetch; window.fetch = async () => { throw 0; }; }")
    example(page, 2).click()
    said(page, "The demo does not answer")
    page.evaluate("() => { window.fetch = window.fetched; }")


def test_a_picture_that_is_chosen_over_is_asked_for_no_longer(page, held) -> None:
    held("segment")
    example(page, 2).click()
    page.wait_for_function(HELD, arg=1)
    example(page, 1).click()
    page.wait_for_function(HELD, arg=2)
    assert page.evaluate("signals.map(signal => signal.aborted)") == [True, False]
    page.evaluate(LET_GO)
    said(page, "example 1: ")


def test_the_other_bundle_is_asked_about_the_picture_on_show(page, held) -> None:
    """The tab is opened while the next picture is under way, which then comes first."""
    held("model=")
    example(page, 2).click()
    page.wait_for_function(HELD, arg=1)
    page.get_by_role("tab", name="Adaptation").click()
    page.wait_for_function(HELD, arg=2)
    page.evaluate("() => held[0]()")
    said(page, "example 2: ")
    page.wait_for_function(HELD, arg=3)
    page.evaluate("() => held[1]()")
    page.wait_for_timeout(300)
    assert page.locator("#status").get_attribute("class") == "rs-status rs-done"
    page.evaluate(LET_GO)
    page.wait_for_function(DIFFER)


def test_errors_of_labels_stay_on_show_until_the_next_picture_is_there(
    page, held, bundle, tmp_path
) -> None:
    path = tmp_path / "truth.png"
    Image.fromarray(bundle.golden()[0].labels).save(path)
    page.set_input_files("#truth", path)
    page.wait_for_function("() => document.querySelector('#changed').textContent.includes('mIoU')")
    held("model=1")
    example(page, 2).click()
    said(page, "example 2: ")
    page.wait_for_function(HELD, arg=1)
    page.get_by_text("What changed").click()
    page.get_by_text("Errors", exact=True).click()
    assert pixel(page, "rs-adaptation", "right", 0.9, 0.9)[3] == 255
    page.evaluate(LET_GO)
    page.wait_for_function(DIFFER)
    assert page.get_by_text("Errors", exact=True).count() == 0
    assert page.locator("#status").get_attribute("class") == "rs-status rs-done"


def test_a_bundle_that_failed_is_asked_again(page) -> None:
    page.evaluate(
        "() => { window.fetched ??= fetch; window.fetch = (a, o) => /model=1/.test(a) "
        "? Promise.reject(new TypeError('gone')) : fetched(a, o); }"
    )
    example(page, 1).click()
    said(page, "The demo does not answer")
    assert page.locator("#changed").inner_text() == ""
    page.evaluate("() => { window.fetch = window.fetched; }")
    page.get_by_role("tab", name="Picture").click()
    page.get_by_role("tab", name="Adaptation").click()
    page.wait_for_function(DIFFER)


def test_the_camera_is_opened_once(page) -> None:
    page.evaluate(
        """() => { window.opened = []; const { mediaDevices } = navigator;
        const open = mediaDevices.getUserMedia.bind(mediaDevices);
        mediaDevices.getUserMedia = async (wish) => { const camera = await open(wish);
        opened.push(camera); return camera; }; }"""
    )
    page.get_by_role("button", name="Camera", exact=True).dblclick()
    page.get_by_role("button", name="Close").click()
    states = "opened.flatMap(camera => camera.getTracks().map(track => track.readyState))"
    assert page.evaluate(states) == ["ended"]


def test_a_camera_that_is_allowed_in_another_tab_of_the_page_is_not_started(page) -> None:
    page.evaluate(
        """() => { const { mediaDevices } = navigator; const open = mediaDevices.getUserMedia;
        mediaDevices.getUserMedia = (wish) => new Promise((done) => { window.allow = async () => {
        window.camera = await open.call(mediaDevices, wish); done(camera); }; }); }"""
    )
    page.get_by_role("tab", name="Video").click()
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function("() => window.allow")
    page.get_by_role("tab", name="Picture").click()
    page.evaluate("() => allow()")
    page.wait_for_function("() => camera.getTracks().every(one => one.readyState === 'ended')")
    page.get_by_role("tab", name="Video").click()
    assert page.locator("#live-status").inner_text() == (
        "The camera is off, since another tab was opened."
    )
    assert page.get_by_role("button", name="Live camera").is_visible()


def test_before_the_first_picture_nothing_breaks(demo, browser, bundle, tmp_path) -> None:
    """Labels to compare are answered in words, downloads and undoing are not to be had yet."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.add_init_script(
        "const first = window.fetch; window.fetch = (a, o) => "
        "/segment/.test(a) ? new Promise(() => {}) : first(a, o);"
    )
    page.goto(demo[0])
    said(page, "Looking at example 1")
    for name in ("Labels (PNG)", "Overlay (PNG)", "Everything (ZIP)"):
        assert page.get_by_role("button", name=name).is_disabled()
    page.get_by_role("tab", name="Reconstruction").click()
    assert page.get_by_role("button", name="Undo").is_disabled()
    page.get_by_role("tab", name="Adaptation").click()
    Image.fromarray(bundle.golden()[0].labels).save(tmp_path / "truth.png")
    page.set_input_files("#truth", tmp_path / "truth.png")
    said(page, "There is no picture on show yet to compare them with.")
    assert wrong == []
    page.close()


def test_a_demo_that_is_gone_at_once_is_told(demo, browser) -> None:
    page = browser.new_page()
    page.add_init_script(
        "const first = window.fetch; window.fetch = (a, o) => "
        "/about/.test(a) ? Promise.reject(new TypeError('gone')) : first(a, o);"
    )
    page.goto(demo[0])
    assert "does not answer" in page.locator("rs-input [role=alert]").inner_text()
    page.close()
