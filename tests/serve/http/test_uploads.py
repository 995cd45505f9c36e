"""Images as common clients send them: requests, curl, httpx; and several at once."""

import io
import json
import shutil
import subprocess
import zipfile

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from serve.media.codec import decode, encode_jpeg, encode_png


def png_of(response):
    assert response.status_code == 200, response.text
    return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def street(tmp_path, kit):
    path = tmp_path / "street one.png"
    path.write_bytes(encode_png(kit.random_image(1)))
    return path


@pytest.mark.parametrize(
    "kind", [None, "application/octet-stream", "application/x-www-form-urlencoded", "image/jpg"]
)
def test_the_bytes_decide_what_the_file_is(client, kit, kind):
    image = kit.random_image(1)
    headers = {"Content-Type": kind} if kind else {}
    labels = png_of(client.post("/segment", content=encode_png(image), headers=headers))
    assert np.array_equal(labels, kit.true_labels(image))


def test_an_open_file_as_requests_sends_it(client, kit, street):
    """requests.post(url, data=open(...)): no Content-Type at all."""
    with street.open("rb") as file:
        response = httpx.post(f"http://{client.address}/segment", content=file)
    assert "content-type" not in response.request.headers
    assert np.array_equal(png_of(response), kit.true_labels(kit.random_image(1)))


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("how", ["-F image=@{}", "--data-binary @{}", "-T {}"])
def test_curl(client, kit, street, how):
    flags = [part.format(street) for part in how.split()]
    address = f"http://{client.address}/segment"
    done = subprocess.run(
        ["curl", "-sS", "-X", "POST", *flags, address], capture_output=True, check=True
    )
    labels = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, kit.true_labels(kit.random_image(1)))


def test_webp(client, kit):
    image = kit.random_image(1)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", lossless=True)
    headers = {"Content-Type": "image/webp"}
    labels = png_of(client.post("/segment", content=file.getvalue(), headers=headers))
    assert np.array_equal(labels, kit.true_labels(image))


def test_several_images_and_forms_of_answers(client, kit):
    first, second = kit.random_image(1), kit.random_image(2, 16, 20)
    files = [
        ("a", ("../../etc/street.png", encode_png(first), "image/png")),
        ("b", ("street.jpg", encode_jpeg(second), "image/jpeg")),
        ("c", ("..", encode_png(second), "image/png")),
    ]
    response = client.post(
        "/segment?as=labels,json,overlay,confidence", files=files, data={"note": "is not looked at"}
    )
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as packed:
        names = [
            f"{stem}.{kind}"
            for stem in ("street", "street-1", "image")
            for kind in ("labels.png", "json", "overlay.jpg", "confidence.png")
        ]
        assert packed.namelist() == names
        labels = decode(packed.read("street.labels.png"))[..., 0]
        assert np.array_equal(labels, kit.true_labels(first))
        labels = decode(packed.read("street-1.labels.png"))[..., 0]
        assert np.array_equal(labels, kit.true_labels(decode(encode_jpeg(second))))
        size = json.loads(packed.read("image.json"))["size"]
        assert size == {"height": 16, "width": 20}
        sure = decode(packed.read("image.confidence.png"))[..., 0]
        assert np.array_equal(
            sure, client.engine.segment(second[None], confidence=True).confidence[0]
        )


def form(body, boundary="b"):
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return {"content": body, "headers": kind}


def test_a_file_without_a_name(client, kit):
    """RFC 7578, 4.2: the name may be missing; the part's type says that it is an image."""
    image = kit.random_image(1)
    for lines in (
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: image/png',
        b'content-type: Image/PNG\r\ncontent-disposition: form-data; name="a"',
    ):
        body = b"--b\r\n" + lines + b"\r\n\r\n" + encode_png(image) + b"\r\n--b--\r\n"
        labels = png_of(client.post("/segment", **form(body)))
        assert np.array_equal(labels, kit.true_labels(image))


def test_every_file_of_a_form_has_a_name_of_its_own(client, kit):
    data = encode_png(kit.random_image(1))
    head = b'--b\r\nContent-Disposition: form-data; name="x"; filename="%s.png"\r\n\r\n'
    parts = [head % name + data + b"\r\n" for name in (b"a", b"a-2", b"a", b"a-3")]
    answer = client.post("/segment", **form(b"".join(parts) + b"--b--\r\n"))
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert names[:2] == ["a.labels.png", "a-2.labels.png"]
    assert len(set(names)) == 4


def test_wrong_forms(client, kit):
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
    for body, wrong in (
        (b"", "truncated"),
        (b"rubbish", "damaged"),
        (part + encode_png(kit.random_image(1)), "truncated"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n', "no file"),
    ):
        assert wrong in kit.error(client.post("/segment", **form(body)), 400)
    headers = {"Content-Type": "multipart/form-data"}
    response = client.post("/segment", content=part, headers=headers)
    assert "without a boundary" in kit.error(response, 400)
    many = (part + b"\r\n") * 65 + b"--b--\r\n"
    assert "more than 64 files" in kit.error(client.post("/segment", **form(many)), 413)
    empty = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 257 + b"--b--\r\n"
    assert "more than 256 parts" in kit.error(client.post("/segment", **form(empty)), 413)
    one_bad = [("a", ("a.png", encode_png(kit.random_image(1)))), ("b", ("b.png", b"GIF89a"))]
    assert "wanted a JPEG" in kit.error(client.post("/segment", files=one_bad), 415)


def test_the_images_of_a_form_share_the_limit(tiny, kit):
    from serve.limits import Limits  # noqa: PLC0415

    with kit.running(tiny, Limits(pixels=4000)) as client:
        image = encode_png(kit.random_image(1, 40, 50))
        files = [(name, (name, image)) for name in "abc"]
        assert client.post("/segment", files=files[:2]).status_code == 200
        message = kit.error(client.post("/segment", files=files), 413)
        assert "6000 pixels together; at most 4000" in message
