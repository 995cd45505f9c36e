import numpy as np
import onnx
import onnxruntime
import pytest

from serve.runtime.rewrites.prune import prune


def test_what_is_left_is_a_model_that_gives_the_same(kit):
    graph = kit.graph(None)
    image = kit.random_image(3)[None]
    everything = onnxruntime.InferenceSession(graph).run(["labels", "logits"], {"image": image})
    for name, value, nodes in (("labels", 0, 5), ("logits", 1, 4)):
        pruned = onnx.load_from_string(prune(graph, [name]))
        onnx.checker.check_model(pruned)
        assert len(pruned.graph.node) == nodes
        assert [output.name for output in pruned.graph.output] == [name]
        session = onnxruntime.InferenceSession(pruned.SerializeToString())
        assert np.array_equal(session.run(None, {"image": image})[0], everything[value])


def test_no_such_output(kit):
    with pytest.raises(ValueError, match="depth"):
        prune(kit.graph(None), ["labels", "depth"])
