import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from serve.limits import Refusal
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.image_header import MOST_SCANS, count_scans, read_header


def refused(status, data, *more):
    with pytest.raises(Refusal) as caught:
        decode(data, *more)
    assert caught.value.status == status
    return str(caught.value)


def test_header():
    assert read_header(encode_png(np.zeros((5, 7), np.uint8))) == ("PNG", 5, 7)
    assert read_header(encode_jpeg(np.zeros((5, 7, 3), np.uint8))) == ("JPEG", 5, 7)
    data = encode_png(np.zeros((4, 4), np.uint8))
    assert read_header(data, 16).width == 4
    assert "16 pixels; at most 15" in refused(413, data, 15)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"lossless": True}),
        ("RGB", {"quality": 80}),
        ("RGBA", {"lossless": True}),
        ("RGBA", {"quality": 80}),
        ("RGB", {"quality": 80, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
def test_webp(mode, options, kit):
    image = kit.random_image(1, 33, 517)
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "WEBP", **options)
    data = file.getvalue()
    assert read_header(data) == ("WebP", 33, 517)
    decoded = decode(data)
    assert decoded.shape == image.shape
    if "lossless" in options:
        assert (decoded == image).all()
    assert "= 17061 pixels; at most 17060" in refused(413, data, 17060)
    assert "is truncated or damaged" in refused(400, data[: len(data) // 2])


def test_a_webp_that_claims_much_takes_no_room(monkeypatch):
    """Pillow would make room for 2 GB of pixels here, before it tells their number."""
    head = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\xfe\x3f\x00" * 2
    data = b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    assert "16383x16383" in refused(413, data, 1 << 20)


def test_odd_webp(kit):
    assert "broken header" in refused(400, b"RIFF\x10\0\0\0WEBPVP8 ")
    assert "broken header" in refused(400, b"RIFF\x40\0\0\0WEBPVP9 " + bytes(40))
    assert "wanted a JPEG, PNG or WebP" in refused(415, b"RIFF\x40\0\0\0WAVEfmt " + bytes(40))
    first, second = (Image.fromarray(kit.random_image(seed)) for seed in (1, 2))
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=[second])
    assert "is an animation" in refused(415, file.getvalue())


def progressive(image, more=0):
    """A progressive JPEG with so many more copies of its last scan."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", image, options)[1].tobytes()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * (1 + more) + b"\xff\xd9"


def test_scans_are_counted(kit):
    image = kit.random_image(1)
    assert count_scans(encode_jpeg(image)) == 1
    usual = count_scans(progressive(image))
    assert 6 <= usual <= 18
    assert count_scans(progressive(image, 7)) == usual + 7
    # An embedded thumbnail's scans are not the image's.
    plain, thumbnail = encode_jpeg(image), b"Exif" + progressive(image, 40)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert count_scans(plain[:2] + segment + plain[2:]) == 1


@pytest.mark.parametrize("hidden", [b"", b"\xff\x01\xff\xff", b"\xff\xff", b"rubbish"])
def test_scans_hidden_from_the_count_are_no_scans(hidden, kit):
    """What stands before a scan does not change what a decoder makes of it."""
    data = progressive(kit.random_image(1))
    at = data.rindex(b"\xff\xda")
    bomb = data[:at] + (hidden + data[at:-2]) * 60 + b"\xff\xd9"
    assert count_scans(bomb) == count_scans(data) + 59


def test_a_bomb_of_scans_is_refused_before_it_is_decoded(kit, monkeypatch):
    data = progressive(kit.random_image(1), 600)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    message = refused(413, data)
    assert f"scans; at most {MOST_SCANS} are decoded: save it again, not progressive" in message


def test_a_progressive_image_is_decoded(kit):
    image = kit.random_image(1)
    plain = cv2.imencode(".jpg", image)[1].tobytes()
    assert (decode(progressive(image)) == decode(plain)).all()
