"""An ONNX graph that can be rewired: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


class Editable:
    """The nodes of a model's graph, without those of graphs within nodes.

    Changes are seen by the next question, and in the model after `store`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self.nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._results = {value.name for value in model.graph.output}
        self._makers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            self._note(node)

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes the tensor; None for inputs and constants."""
        return self._makers.get(tensor)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read the tensor."""
        return self._readers.get(tensor, [])

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The one node that reads the tensor; None for several or none, or a graph's output."""
        found = self.readers(tensor)
        return found[0] if len(found) == 1 and tensor not in self._results else None

    def is_result(self, tensor: str) -> bool:
        """Whether the tensor is an output of the graph."""
        return tensor in self._results

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """A constant's value; None for what is computed."""
        made = self.maker(tensor)
        if made is not None and made.op_type == "Constant" and made.attribute[0].name == "value":
            return numpy_helper.to_array(made.attribute[0].t)
        return numpy_helper.to_array(self._constants[tensor]) if tensor in self._constants else None

    def add_constant(self, like: str, value: NDArray[Any]) -> str:
        """A new constant, named after the tensor `like`."""
        name, k = like, 0
        while name in self._constants or name in self._makers:
            k += 1
            name = f"{like}_{k}"
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def feed(self, node: onnx.NodeProto, at: int, tensor: str) -> None:
        """Makes the node's input number `at` the tensor."""
        before = node.input[at]
        node.input[at] = tensor
        if before not in node.input:
            self._readers[before] = [r for r in self._readers[before] if r is not node]
        if not any(reader is node for reader in self.readers(tensor)):
            self._readers.setdefault(tensor, []).append(node)

    def insert(self, node: onnx.NodeProto, before: onnx.NodeProto) -> None:
        """Puts a node in front of one that reads what it makes."""
        at = next(k for k, other in enumerate(self.nodes) if other is before)
        self.nodes.insert(at, node)
        self._note(node)

    def bypass(self, *chain: onnx.NodeProto) -> None:
        """Removes nodes in a row: who read the last one's output reads the first one's input."""
        given, made = chain[0].input[0], chain[-1].output[0]
        assert made not in self._results, "a result keeps its maker"
        for reader in list(self.readers(made)):
            for at, name in enumerate(reader.input):
                if name == made:
                    self.feed(reader, at, given)
        self.nodes = [node for node in self.nodes if not any(node is gone for gone in chain)]
        for node in chain:
            del self._makers[node.output[0]]
            for name in set(node.input):
                self._readers[name] = [r for r in self.readers(name) if r is not node]

    def store(self) -> None:
        """Puts the nodes into the model, and the constants that one of them reads."""
        used = {name for node in self.nodes for name in node.input} | self._results
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self.nodes)
        kept = [tensor for name, tensor in self._constants.items() if name in used]
        kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _note(self, node: onnx.NodeProto) -> None:
        self._makers |= dict.fromkeys(node.output, node)
        for name in set(node.input):
            self._readers.setdefault(name, []).append(node)


def scalar(value: NDArray[Any] | None) -> np.float32 | None:
    """The one float32 number of a constant; None where it is something else."""
    if value is None or value.size != 1 or value.dtype != np.float32:
        return None
    return value.reshape(-1)[0]
