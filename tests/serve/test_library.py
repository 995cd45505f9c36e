"""A bundle inside a program: three lines, no torch."""

import subprocess
import sys

import numpy as np
import pytest

from export.bundle import Golden, Trust
from roadshift import Failure, UserError
from serve.library import open_bundle
from serve.media.codec import encode_png


@pytest.fixture(scope="module")
def street(tiny):
    return open_bundle(str(tiny.folder), threads=1)


def test_an_array_and_the_bytes_of_a_file(street, tiny, kit) -> None:
    image = kit.random_image(3)
    answer = street.segment(image, confidence=True)
    assert np.array_equal(answer.labels, kit.true_labels(image))
    assert answer.confidence.shape == answer.labels.shape == image.shape[:2]
    from_bytes = street.segment(encode_png(image))
    assert np.array_equal(from_bytes.labels, answer.labels)
    assert from_bytes.confidence is None
    assert (street.classes, street.palette) == (tiny.classes, tiny.palette)
    flipped = street.segment(image[:, ::-1]).labels
    assert np.array_equal(flipped, kit.true_labels(np.ascontiguousarray(image[:, ::-1])))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 48, 3), np.float32), r"got float32 \[32, 48, 3\]: convert"),
        (np.zeros((32, 48), np.uint8), r"got uint8 \[32, 48\]: convert"),
        (np.zeros((32, 48, 4), np.uint8), "wanted RGB images"),
        (b"GIF89a", "wanted a JPEG, PNG or WebP image"),
        (encode_png(np.zeros((2000, 3000), np.uint8)), "at most 1000000 are taken"),
    ],
)
def test_what_is_no_image(tiny, image, message) -> None:
    with pytest.raises(UserError, match=message):
        open_bundle(tiny.folder, threads=1, max_pixels=1_000_000).segment(image)


def test_a_bundle_that_is_not_what_it_was(tiny, tmp_path, kit) -> None:
    with pytest.raises(UserError, match="wanted abc: it is another bundle"):
        open_bundle(tiny.folder, trust=Trust(digest="abc"))
    image = kit.random_image(0)
    wrong = kit.make_bundle(tmp_path / "b", golden=[Golden(image, 3 - kit.true_labels(image))])
    with pytest.raises(Failure, match="of a golden frame's labels"):
        open_bundle(wrong.folder, threads=1)


def test_no_torch_is_imported(tiny) -> None:
    code = (
        "import sys; from serve.library import open_bundle; import numpy as np; "
        f"open_bundle({str(tiny.folder)!r}).segment(np.zeros((16, 16, 3), np.uint8)); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
