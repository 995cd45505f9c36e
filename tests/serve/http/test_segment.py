"""POST /segment on a real server."""

import gzip
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from serve.media.codec import decode, encode_jpeg, encode_png


def test_labels(client, kit):
    image = kit.random_image(1)
    response = client.post("/segment", content=encode_png(image), headers=kit.PNG)
    assert response.headers["content-type"] == "image/png"
    assert "decode;dur=" in response.headers["server-timing"]
    with Image.open(io.BytesIO(response.content)) as file:
        assert file.mode == "L"
        assert np.array_equal(np.asarray(file), kit.true_labels(image))


def test_jpeg_in(client, kit):
    data = encode_jpeg(kit.random_image(1))
    headers = {"Content-Type": "image/jpeg; q=1"}
    response = client.post("/segment?as=labels", content=data, headers=headers)
    labels = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, kit.true_labels(decode(data)))


def test_confidence(client, kit):
    image = kit.random_image(1)
    response = client.post("/segment?as=confidence", content=encode_png(image), headers=kit.PNG)
    got = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(got, client.engine.segment(image[None], confidence=True).confidence[0])


@pytest.mark.parametrize(
    ("query", "kind"), [("as=overlay", "image/jpeg"), ("as=overlay&format=png", "image/png")]
)
def test_overlay(client, query, kind, kit):
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:, 2] = 200
    response = client.post(f"/segment?{query}", content=encode_png(image), headers=kit.PNG)
    assert response.headers["content-type"] == kind
    seen = decode(response.content).astype(int)
    assert np.abs(seen[4, 2] - [5, 5, 5]).max() < 6
    assert np.abs(seen[4, 13] - [0, 0, 225]).max() < 6


def test_numbers(client, kit):
    image = np.zeros((16, 24, 3), np.uint8)
    image[:4, :, 1] = 200
    response = client.post("/segment?as=json", content=encode_png(image), headers=kit.PNG).json()
    assert response["size"] == {"height": 16, "width": 24}
    assert response["classes"][2] == {
        "id": 2,
        "name": "green",
        "color": [0, 250, 0],
        "share": 0.25,
    }
    assert [c["share"] for c in response["classes"]] == [0.75, 0, 0.25, 0]
    assert response["times"]["engine_ms"] > 0


def test_polygons(client, kit):
    image = np.zeros((16, 24, 3), np.uint8)
    image[:4, :, 1] = 200
    response = client.post("/segment?as=geojson", content=encode_png(image), headers=kit.PNG)
    assert response.headers["content-type"] == "application/geo+json"
    document = response.json()
    assert document["type"] == "FeatureCollection"
    found = {each["properties"]["name"]: each["geometry"] for each in document["features"]}
    assert found.keys() == {"dark", "green"}
    assert {*map(tuple, found["green"]["coordinates"][0])} == {(0, 0), (24, 0), (24, 4), (0, 4)}


def test_a_model_by_name(client, kit):
    data = encode_png(kit.random_image(1))
    response = client.post("/segment?model=tiny", content=data, headers=kit.PNG)
    assert response.status_code == 200
    response = client.post("/segment?model=other", content=data, headers=kit.PNG)
    assert "unknown model 'other'" in kit.error(response, 404)


def test_compressed_upload(client, kit):
    data = gzip.compress(encode_png(np.zeros((16, 16, 3), np.uint8)))
    headers = {**kit.PNG, "Content-Encoding": "gzip"}
    assert client.post("/segment", content=data, headers=headers).status_code == 200


def test_the_page_names_the_classes(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v2/models/tiny" in page.text
    assert "3 blue" in page.text


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("as=mask", "unknown as='mask': wanted one of labels, overlay, confidence, json, geojson"),
        ("path=/etc/passwd", "unknown parameter 'path'"),
        ("format=jpeg", "format='jpeg' does not go with as=labels"),
        ("as=overlay&format=gif", "format='gif' does not go with as=overlay"),
        ("timeout=1.5", "not a whole number of microseconds"),
        ("timeout=-1", "not a whole number of microseconds"),
    ],
)
def test_wrong_parameters(client, query, wrong, kit):
    assert wrong in kit.error(client.post(f"/segment?{query}", content=b"", headers=kit.PNG), 400)


def test_wrong_content(client, kit):
    data = encode_png(kit.random_image(1))
    headers = {"Content-Type": "application/json"}
    response = client.post("/segment", content=data, headers=headers)
    assert "wanted image/jpeg, image/png or image/webp" in kit.error(response, 415)
    for body, status, wrong in (
        (b"", 415, "an empty body"),
        (b"GIF89a", 415, "wanted a JPEG, PNG or WebP"),
        (data[:-30], 400, "truncated or damaged"),
        (encode_jpeg(kit.random_image(1))[:-30], 400, "truncated or damaged"),
        (encode_png(kit.random_image(1, 7, 7)), 400, "images from 8x8"),
    ):
        assert wrong in kit.error(client.post("/segment", content=body, headers=kit.PNG), status)
