"""What tests of the demo page in a browser ask it."""


def said(page, text: str) -> str:
    """The status line, once it has that text."""
    page.wait_for_function(
        "text => document.querySelector('#status')?.textContent.includes(text)", arg=text
    )
    return page.locator("#status").inner_text()


def layer(page, place: str, name: str) -> str:
    """A layer's pixels as text, to be compared."""
    return page.locator(f"{place} .rs-{name}").first.evaluate("canvas => canvas.toDataURL()")


def pixel(page, place: str, name: str, x: float, y: float) -> list[int]:
    """The colour and opacity of a layer at a place (0..1 of its width and height)."""
    return page.locator(f"{place} .rs-{name}").first.evaluate(
        """(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(
        x * canvas.width, y * canvas.height, 1, 1).data]""",
        [x, y],
    )
