import gzip
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from roadshift import UserError
from serve.limits import Limits, Refusal
from serve.media import codec
from serve.media.codec import decode, deflate, encode_jpeg, encode_png, inflate


def png_header(width, height):
    """A PNG file that claims a size and holds almost nothing: 60 bytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def refusal(status, call, *args):
    with pytest.raises(Refusal) as caught:
        call(*args)
    assert caught.value.status == status
    return str(caught.value)


def test_png_is_exact(kit):
    image = kit.random_image(1)
    assert (decode(encode_png(image)) == image).all()
    labels = kit.true_labels(image)
    with Image.open(io.BytesIO(encode_png(labels))) as file:
        assert file.mode == "L"
        assert (np.asarray(file) == labels).all()


def test_jpeg_keeps_the_order_of_the_channels():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 250
    again = decode(encode_jpeg(red))
    assert abs(again.astype(int) - red).max() < 6


def test_grey_16_bit_and_transparent_become_rgb():
    grey = np.full((4, 6), 0x8000, np.uint16)
    assert (decode(cv2.imencode(".png", grey)[1].tobytes()) == 128).all()
    clear = np.full((4, 6, 4), 100, np.uint8)
    assert decode(cv2.imencode(".png", clear)[1].tobytes()).shape == (4, 6, 3)


@pytest.mark.parametrize("flag", [None, getattr(cv2, "IMREAD_COLOR_RGB", None)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_red_comes_first_whichever_opencv_it_is(flag, form, monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (250, 120, 10)).save(file, form)
    monkeypatch.setattr(codec, "_RGB", flag)
    assert np.abs(decode(file.getvalue()).astype(int) - (250, 120, 10)).max() < 5


def test_cmyk_becomes_rgb():
    file, image = io.BytesIO(), Image.new("RGB", (32, 32), (250, 120, 10))
    image.convert("CMYK").save(file, "JPEG")
    assert np.abs(decode(file.getvalue()).astype(int) - (250, 120, 10)).max() < 8


def test_exif_orientation_is_applied():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(file, "JPEG", exif=exif)
    assert decode(file.getvalue()).shape == (20, 10, 3)


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg])
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_truncated(encode, kept, kit):
    data = encode(kit.random_image(2))
    message = refusal(400, decode, data[: int(len(data) * kept)])
    assert "is truncated or damaged: send the whole file" in message


def test_a_truncated_jpeg_with_a_whole_thumbnail_before_its_pixels(kit, monkeypatch):
    data = encode_jpeg(kit.random_image(2))
    thumbnail = b"Exif" + encode_jpeg(kit.random_image(3, 8, 8))
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert decode(data).shape == (32, 48, 3)
    # As older versions of OpenCV do: they hand out what they have.
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((32, 48, 3), np.uint8))
    assert "truncated" in refusal(400, decode, data[:-40])


def test_damaged_png(kit):
    data = bytearray(encode_png(kit.random_image(2)))
    data[len(data) // 2] ^= 255
    assert "damaged" in refusal(400, decode, bytes(data))


def test_only_jpeg_png_and_webp():
    assert "an empty body" in refusal(415, decode, b"")
    assert "begin with 47 49 46 38" in refusal(415, decode, b"GIF89a" + bytes(20))
    assert "broken header" in refusal(400, decode, b"\x89PNG\r\n\x1a\n" + bytes(20))
    assert "broken header" in refusal(400, decode, b"\xff\xd8\xff" + bytes(20))


def test_the_size_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    message = refusal(413, decode, png_header(5000, 4000), 1 << 20)
    assert "4000x5000 (height x width) = 20000000 pixels; at most 1048576" in message
    assert "far too large" in refusal(413, decode, png_header(60000, 60000), 1 << 20)


def test_more_than_opencv_decodes(kit, monkeypatch):
    def too_much(*_):
        raise cv2.error("CV_IO_MAX_IMAGE_PIXELS")

    monkeypatch.setattr(cv2, "imdecode", too_much)
    assert "could not be decoded" in refusal(400, decode, encode_png(kit.random_image(2)))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_inflate(encoding):
    data = bytes(range(256)) * 40
    packed = deflate(data, encoding)
    assert len(packed) < len(data)
    assert inflate(packed, f" {encoding.upper()}", len(data)) == data
    assert "more than 10239 bytes" in refusal(413, inflate, packed, encoding, len(data) - 1)
    assert "truncated" in refusal(400, inflate, packed[:-3], encoding, len(data))
    assert "more behind it" in refusal(400, inflate, packed + b"x", encoding, len(data))
    assert f"is not {encoding} data" in refusal(400, inflate, b"plain", encoding, 100)


def test_deflate_is_what_other_programs_read():
    assert gzip.decompress(deflate(b"abc", "gzip")) == b"abc"
    assert zlib.decompress(deflate(b"abc", "deflate")) == b"abc"


def test_other_encodings():
    assert inflate(b"abc", "", 1) == inflate(b"abc", "identity", 1) == b"abc"
    assert "'br' is not read" in refusal(415, inflate, b"abc", "br", 9)


def test_limits_are_positive():
    with pytest.raises(UserError, match="--body-bytes is 0: wanted at least 1"):
        Limits(body_bytes=0)
    with pytest.raises(UserError, match="--waiting is -1: wanted at least 0"):
        Limits(waiting=-1)
    assert Limits(waiting=0).waiting == 0
