"""The buffers of a bound session, on the CPU provider, which binds as a GPU's does."""

import threading

import numpy as np
import onnx
import onnxruntime
import pytest

from serve.runtime.binding import MOST, Binding
from serve.runtime.rewrites.prune import prune


class Spied:
    """A session that counts what is made for it and says what each run was told."""

    def __init__(self, graph):
        self.real = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.made, self.runs, self.inside, self.most_inside = 0, [], 0, 0

    def __getattr__(self, name):
        return getattr(self.real, name)

    def io_binding(self):
        self.made += 1
        return self.real.io_binding()

    def run_with_iobinding(self, bound, options=None):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.runs.append(options and options.get_run_config_entry("gpu_graph_id"))
        self.real.run_with_iobinding(bound, options)
        self.inside -= 1


@pytest.fixture
def spied(kit):
    return Spied(kit.graph(None))


@pytest.fixture
def binding(spied):
    return Binding(onnxruntime, spied, device="cpu")


def test_every_call_gets_its_own_answer(binding, spied, kit):
    images = [kit.random_image(seed)[None] for seed in range(3)]
    found = [binding(image, ["labels", "logits"]) for image in images]
    for image, (labels, logits) in zip(images, found, strict=True):
        assert np.array_equal(labels, kit.true_labels(image))
        plain = spied.run(["logits"], {"image": image})[0]
        assert np.array_equal(logits, plain)
    assert spied.made == 1


def test_the_run_that_finds_the_sizes_is_not_captured(binding, spied, kit):
    for _ in range(2):
        binding(kit.random_image(1)[None], ["labels"])
    assert spied.runs == ["-1", None, None]


def test_sizes_that_the_graph_declares_are_taken(kit):
    model = onnx.load_from_string(prune(kit.graph((16, 24)), ["labels"]))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    spied = Spied(model.SerializeToString())
    binding = Binding(onnxruntime, spied, device="cpu")
    image = kit.random_image(1, 16, 24)[None]
    assert np.array_equal(binding(image, ["labels"])[0], kit.true_labels(image))
    assert spied.runs == [None]


def test_the_buffers_of_few_shapes_are_kept(binding, spied, kit):
    def see(height):
        image = kit.random_image(height, height, 24)[None]
        assert np.array_equal(binding(image, ["labels"])[0], kit.true_labels(image))
        return spied.made

    heights = [16 + 4 * i for i in range(MOST)]
    for made, height in enumerate(heights, 1):
        assert see(height) == made
    assert see(heights[0]) == MOST  # the first is now the last used
    assert see(100) == MOST + 1  # in the second's place
    assert see(heights[0]) == MOST + 1
    assert see(heights[1]) == MOST + 2


def test_the_same_buffers_serve_whatever_is_wanted(binding, spied, kit):
    """A CUDA graph knows the buffers of its first run only: others would never be written."""
    for seed, wanted in enumerate((["logits"], ["labels"], ["confidence", "labels"])):
        image = kit.random_image(seed)[None]
        found = dict(zip(wanted, binding(image, wanted), strict=True))
        for name, value in zip(wanted, spied.run(wanted, {"image": image}), strict=True):
            assert np.array_equal(found[name], value)
    assert spied.made == 1


def test_an_image_that_is_not_in_one_piece(binding, kit):
    image = kit.random_image(1, 32, 96)[:, ::2][None]
    assert not image.flags.c_contiguous
    assert np.array_equal(binding(image, ["labels"])[0], kit.true_labels(image))


def test_one_call_at_a_time(binding, spied, kit):
    wrong = []

    def work(seed):
        for k in range(20):
            image = kit.random_image(100 * seed + k, 16 + 4 * seed, 24)[None]
            if not np.array_equal(binding(image, ["labels"])[0], kit.true_labels(image)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
    assert spied.most_inside == 1


def test_an_error_leaves_the_binding_usable(binding, kit):
    with pytest.raises(Exception, match="nothing"):
        binding(kit.random_image(1)[None], ["nothing"])
    image = kit.random_image(2)[None]
    assert np.array_equal(binding(image, ["labels"])[0], kit.true_labels(image))
