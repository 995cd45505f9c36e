"""The translator's graph, alone and behind a real server."""

from dataclasses import replace

import numpy as np
import pytest
import tritonclient.http as triton

from export.bundle import TRANSLATOR
from roadshift import Failure, UserError
from serve.runtime.image_graphs import ImageGraph, image_graphs_of

FILE = "translator.onnx"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, kit):
    folder = tmp_path_factory.mktemp("translated") / "bundle"
    return kit.make_bundle(folder, others={FILE: kit.translation()})


def test_an_image_of_its_size(bundle, kit):
    images = np.stack([kit.random_image(1), kit.random_image(2)])
    found = ImageGraph(bundle, TRANSLATOR, threads=1).draw(images)
    assert found.dtype == np.uint8
    assert np.array_equal(found, 255 - images)


def test_what_does_not_fit(bundle):
    with pytest.raises(UserError, match=r"wanted RGB images of shape \[n,h,w,3\], got"):
        ImageGraph(bundle, TRANSLATOR, threads=1).draw(np.zeros((1, 8, 8), np.uint8))


def test_golden_images(bundle, tmp_path, kit):
    assert ImageGraph(bundle, TRANSLATOR, threads=1).check_golden() == np.inf
    wrong = kit.make_bundle(tmp_path / "b", others={FILE: kit.translation(64)})
    with pytest.raises(Failure, match=r"bundle tiny translates a golden image to .* wanted 40: us"):
        ImageGraph(wrong, TRANSLATOR, threads=1).check_golden()
    lenient = replace(wrong, checks={"translator": {"min_psnr": 5.0}})
    assert 5 < ImageGraph(lenient, TRANSLATOR, threads=1).check_golden() < 15


def test_which_graphs_draw(tiny, drawn, bundle, exact):
    assert image_graphs_of(tiny) == []
    kinds = [
        [d.spec.kind for d in image_graphs_of(b, threads=1)] for b in (tiny, drawn, bundle, exact)
    ]
    both = ["reconstructor", "translator"]
    assert kinds == [[], ["reconstructor"], ["translator"], both]


def test_it_is_one_more_model(exact, kit):
    with kit.running(exact) as client, triton.InferenceServerClient(client.address) as remote:
        names = [model["name"] for model in remote.get_model_repository_index()]
        assert names == ["tiny", "tiny-reconstructor", "tiny-translator"]
        assert remote.get_model_metadata("tiny-translator")["outputs"][0]["name"] == "translated"
        images = kit.random_image(1)[None]
        tensor = triton.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        found = remote.infer("tiny-translator", [tensor]).as_numpy("translated")
        assert np.array_equal(found, 255 - images)
        page = client.get("/").text
        assert "/v2/models/tiny-reconstructor" in page
        assert "colours of the city it was trained on:\n" in page
        assert remote.get_model_metadata("tiny")["parameters"]["route"] == "exact"
