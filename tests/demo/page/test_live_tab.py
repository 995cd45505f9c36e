"""The live camera in a real browser with a fake one, and what a stranger's socket gets."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from demo_page import layer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from serve.media.codec import encode_png

CAMERA = "document.querySelector('rs-video .rs-live video')"
FIGURES = "() => /FPS, .* ms/.test(document.querySelector('#live-figures')?.textContent)"


def started(page):
    """Starts the camera; its socket, once a picture was answered."""
    page.get_by_role("tab", name="Video").click()
    with page.expect_websocket() as found:
        page.get_by_role("button", name="Live camera").press("Enter")
    page.wait_for_selector("#live-status.rs-done")
    return found.value


def stopped(page) -> None:
    page.get_by_role("button", name="Stop the camera").press("Enter")
    page.wait_for_function(
        "() => document.querySelector('#live-status').textContent.startsWith('The camera is off')"
    )


def test_pictures_come_and_their_rate_is_shown(page, demo) -> None:
    socket = started(page)
    assert socket.url == demo[0].replace("http", "ws") + "roadshift/live"
    page.wait_for_function(FIGURES)
    text = page.locator("#live-figures").inner_text()
    fps, latency = float(text.split(" FPS")[0]), int(text.split(", ")[1].split(" ms")[0])
    assert 0 < fps < 100
    assert 0 < latency < 10_000
    # The camera moves (a clock, in Chromium), and so does what is painted.
    before = layer(page, "rs-video", "image")
    page.wait_for_function(
        "old => document.querySelector('rs-video .rs-image').toDataURL() !== old", arg=before
    )
    # As many pixels as the network learnt from, in the camera's shape.
    assert page.locator("rs-video .rs-colours").evaluate("c => [c.width, c.height]") == [209, 156]
    stopped(page)


def test_every_pixel_has_the_colour_of_a_class(page, bundle) -> None:
    started(page)
    found = page.locator("rs-video .rs-colours").evaluate(
        """canvas => { const { data } = canvas.getContext('2d').getImageData(
        0, 0, canvas.width, canvas.height); const found = new Set();
        for (let i = 0; i < data.length; i += 4) found.add(data.slice(i, i + 4).join());
        return [...found]; }"""
    )
    assert {tuple(map(int, one.split(","))) for one in found} <= {
        (*colour, 255) for colour in bundle.palette
    }
    page.locator("rs-video").get_by_label("Opacity").fill("25")
    layer_ = page.locator("rs-video .rs-colours")
    assert layer_.evaluate("canvas => canvas.style.opacity") == "0.25"
    stopped(page)


LISTEN = """() => {
window.log = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (!this.watched) this.addEventListener('message',
    ({ data }) => log.push(data.size ? 'labels' : 'head'));
  this.watched = true;
  log.push('sent');
  send.call(this, data);
}; }"""
OFFER = """async address => {
const { NewestFrames } = await import('/roadshift/static/newest_frames.js');
const blob = await (await fetch('roadshift/examples/0')).blob();
let newest = 0, answered;
const take = async () => ({ blob, number: newest });
const frames = new NewestFrames(address, { take, ended: () => {},
  answered: (picture) => answered(picture.number) });
const offer = () => { newest++; frames.offer(); };
const next = () => new Promise((done) => { answered = done; });
offer(); offer(); offer();                 // before the socket is open
frames.socket.addEventListener('open', () => { offer(); offer(); });  // under way: 3
const found = [await next(), await next(), frames.skipped];
frames.close();
return found; }"""


def test_one_picture_is_under_way_at_a_time(page) -> None:
    page.evaluate(LISTEN)
    started(page)
    page.wait_for_function("() => log.length > 30")
    stopped(page)
    log = page.evaluate("log")
    assert log == (["sent", "head", "labels"] * len(log))[: len(log)]


def test_the_newest_picture_is_next_and_what_it_passed_is_counted(page, demo) -> None:
    address = demo[0].replace("http", "ws") + "roadshift/live"
    assert page.evaluate(OFFER, address) == [3, 5, 3]


def test_stop_ends_the_camera_and_the_socket(page) -> None:
    page.evaluate(
        """() => { window.ends = 0; const close = WebSocket.prototype.close;
        WebSocket.prototype.close = function () { ends++; close.call(this); }; }"""
    )
    socket = started(page)
    page.evaluate(f"window.tracks = {CAMERA}.srcObject.getTracks()")
    assert page.evaluate("tracks.map(track => track.readyState)") == ["live"]
    with socket.expect_event("close"):
        stopped(page)
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended"]
    assert page.evaluate(f"{CAMERA}.srcObject === null")
    assert page.locator("#live-figures").is_hidden()
    assert (socket.is_closed(), page.evaluate("ends")) == (True, 1)


def test_an_answer_that_was_being_decoded_does_not_turn_it_on_again(page) -> None:
    started(page)
    page.evaluate(
        """() => { const revoke = URL.revokeObjectURL; URL.revokeObjectURL = address => {
        revoke.call(URL, address); URL.revokeObjectURL = revoke;
        document.querySelector('#live-camera').click(); }; }"""
    )
    page.get_by_role("button", name="Live camera").wait_for()
    page.wait_for_timeout(100)
    assert page.locator("#live-status").inner_text() == "The camera is off."


def test_another_tab_ends_it_too(page) -> None:
    socket = started(page)
    with socket.expect_event("close"):
        page.get_by_role("tab", name="Picture").click()
    page.get_by_role("tab", name="Video").click()
    assert "another tab was opened" in page.locator("#live-status").inner_text()


@contextmanager
def watching(address: str, picture: bytes) -> Iterator[None]:
    """A visitor who has a place: whoever was there before may take a moment to be gone."""
    end = time.monotonic() + 60
    while True:
        with connect(address) as socket, suppress(ConnectionClosed):
            socket.send(picture)
            socket.recv()
            yield
            return
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_full_house_and_a_forbidden_camera_are_explained(page, demo, street) -> None:
    address = demo[0].replace("http", "ws") + "roadshift/live"
    page.get_by_role("tab", name="Video").click()
    picture = encode_png(street(8, 8))
    with watching(address, picture), watching(address, picture), watching(address, picture):
        page.get_by_role("button", name="Live camera").click()
        page.wait_for_selector("#live-status.rs-error")
        text = page.locator("#live-status").inner_text()
        assert text == "Others use the live camera just now: try again in a minute."
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no')); }"
    )
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(
        "() => document.querySelector('#live-status').textContent.includes('cannot be used')"
    )
    assert page.get_by_role("button", name="Live camera").is_visible()


def test_the_words_are_not_read_out_with_every_picture(browser, demo) -> None:
    """On a phone, in the dark: what changes all the time is no live region; nothing sticks out."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(demo[0])
    page.wait_for_selector("#status.rs-done")
    started(page)
    page.wait_for_function(FIGURES)
    page.evaluate(
        """window.said = []; const status = document.querySelector('#live-status');
        new MutationObserver(() => said.push(status.textContent)).observe(
        status, {childList: true, characterData: true, subtree: true})"""
    )
    page.wait_for_timeout(1200)
    assert page.evaluate("said") == []
    assert not page.locator("#live-figures").evaluate(
        "p => p.closest('[aria-live], [role=status], [role=alert], output')"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_a_frame_too_large_is_not_read(demo, street) -> None:
    with connect(demo[0].replace("http", "ws") + "roadshift/live") as socket:
        socket.send(encode_png(street(8, 8)))
        assert "error" not in json.loads(socket.recv())
        socket.recv()
        socket.send(bytes((1 << 20) + 1))
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv()
    assert caught.value.rcvd.code == 1009


@pytest.mark.parametrize(
    ("path", "status", "headers"),
    [
        ("roadshift/live", 403, {"Origin": "http://evil.example"}),
        ("roadshift/live", 403, {"Origin": "null"}),
        ("roadshift/live", 403, {"Sec-Fetch-Site": "cross-site"}),
        ("roadshift/segment", 403, {}),
        ("gradio_api/queue/data", 403, {}),
        ("", 403, {}),
    ],
)
def test_sockets_of_other_sites_and_other_doors_are_refused(demo, path, status, headers) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(demo[0].replace("http", "ws") + path, additional_headers=headers)
    assert caught.value.response.status_code == status
