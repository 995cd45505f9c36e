"""The models that a server offers, by name; those of one bundle come and go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from export.bundle.graphs import RECONSTRUCTOR
from roadshift import UserError
from serve.limits import Refusal
from serve.models.batcher import Batcher
from serve.models.drift import Drift
from serve.models.metrics import ModelMetrics
from serve.models.model_spec import ModelSpec
from serve.models.self_check.self_check import SelfCheck
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph


@dataclass(eq=False)
class Model:
    """One graph as the server offers it, who waits for it, and what became of the requests."""

    graph: Graph
    spec: ModelSpec
    metrics: ModelMetrics
    line: Batcher
    drift: Drift | None = None
    """What looks at a segmentor's frames."""
    self_check: SelfCheck | None = None
    reconstructor: Model | None = None
    """Of a segmentor that can check itself: what frames are held to, and what draws their labels,
    of the same version of its bundle."""
    under_way: int = 0
    """Requests that have begun and not ended, be it that their bodies still come in."""


class Catalogue:
    """Models by name, the segmentors first, in the order in which their bundles were named.

    `make` makes a model of a graph and its version. A bundle's first version is 1.
    """

    def __init__(self, make: Callable[[Graph, str], Model]) -> None:
        self._make = make
        self._bundles: dict[str, list[Model]] = {}
        self._versions: dict[str, int] = {}
        self.models: dict[str, Model] = {}

    @property
    def segmentors(self) -> list[Model]:
        """Those that make labels of images."""
        return [model for model in self.models.values() if isinstance(model.graph, Engine)]

    @property
    def unloaded(self) -> dict[str, str]:
        """The bundles that offer nothing now, and the version that each had last."""
        return {name: str(self._versions[name]) for name, of in self._bundles.items() if not of}

    def model_of(self, name: str, version: str | None) -> Model:
        """The model of that name. Refusal 404 for an unknown one, or for another version of it;
        503 for one that is unloaded."""
        if name in self.unloaded:
            raise Refusal(503, f"model {name!r} is unloaded")
        if name not in self.models:
            known = ", ".join(map(repr, self.models))
            raise Refusal(404, f"unknown model {name[:80]!r}: this server has {known or 'none'}")
        model = self.models[name]
        if version not in (None, model.spec.version):
            raise Refusal(
                404,
                f"unknown version {version[:80]!r} of {name!r}: there is {model.spec.version!r}",
            )
        return model

    def put(self, bundle: str, graphs: Sequence[Graph]) -> list[Model]:
        """From now on these are that bundle's graphs; gives back the models that it had.

        Raises UserError for two graphs of one name.
        """
        named = {graph.name for graph in graphs}
        others = {m.spec.name for name, of in self._bundles.items() if name != bundle for m in of}
        if len(named) < len(graphs) or named & others:
            raise UserError(
                f"two of the bundles are called {bundle!r}: export one of them again with "
                "another name for its folder (--out)"
            )
        version = self._versions[bundle] = self._versions.get(bundle, 0) + bool(graphs)
        models = [self._make(graph, str(version)) for graph in graphs]
        drawing = next((m for m in models if m.graph.spec is RECONSTRUCTOR), None)
        for model in models:
            model.reconstructor = drawing if model.self_check is not None else None
        return self._replace(bundle, models)

    def prepare(self, bundle: str | None = None) -> None:
        """Has what looks at frames, of one bundle or all, read the golden ones; it may take its
        time."""
        for model in self.segmentors if bundle is None else self._bundles[bundle]:
            for looking in (model.drift, model.self_check):
                if looking is not None:
                    looking.prepare()

    def _replace(self, bundle: str, models: list[Model]) -> list[Model]:
        before = self._bundles.get(bundle, [])
        self._bundles[bundle] = models
        offered = [model for of in self._bundles.values() for model in of]
        offered.sort(key=lambda model: not isinstance(model.graph, Engine))
        self.models = {model.spec.name: model for model in offered}
        return before
